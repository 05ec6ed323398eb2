"""Prediction of folders: the same results in one process and on a cluster, broken films named."""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from cephray import predict_on_cluster as on_cluster
from cephray.analysis import MEASUREMENTS, classify, measure
from cephray.config import Config
from cephray.data.films import Original, View, read_film
from cephray.data.search import FilmFile, find_films
from cephray.data.synthetic import write_dataset
from cephray.errors import InputError, RunError, Stopped
from cephray.inference import Detector
from cephray.landmarks import ISBI2015
from cephray.overlay import draw_overlay
from cephray.predict import (
    Outcome,
    Result,
    Summary,
    predict_here,
    read,
    require_own_output,
    write_results,
)
from cephray.train.checkpoint import Checkpoint, Progress, find_checkpoint, save_checkpoint
from tests.data.test_dicom import film as dicom_film
from tests.train.processes import descendants, ray_processes, wait_until

BROKEN = 5


def write_folder(folder: Path, count: int) -> Path:
    """Draw films, 5 of them broken in one way each, in two sub-folders that share names."""
    write_dataset(folder / "drawn", min(count, 30), size_px=(96, 120))
    drawn = sorted((folder / "drawn").rglob("*.png"))
    films = folder / "films"
    for name in ("a", "b"):
        (films / name).mkdir(parents=True)
    for number in range(count - BROKEN):
        source = drawn[number % len(drawn)]
        shutil.copy(source, films / "ab"[number % 2] / f"{number // 2:03d}.png")
    shutil.rmtree(folder / "drawn")
    content = (films / "a/000.png").read_bytes()
    (films / "a/cut.png").write_bytes(content[: len(content) // 2])
    (films / "a/no-picture.bmp").write_bytes(b"BM" + bytes(500))
    (films / "b/empty.png").touch()
    (films / "b/text.jpg").write_text("the film is in the other folder")
    report = dicom_film(np.zeros((4, 4), np.uint8))
    del report.PixelData
    report.save_as(films / "b/report", enforce_file_format=True)
    return films


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("films"), 30)


@pytest.fixture(scope="module")
def checkpoint(
    tmp_path_factory: pytest.TempPathFactory, small_config: Callable[..., Config]
) -> Checkpoint:
    """Save a network that was never trained; its landmarks hang on the film all the same."""
    import keras

    from cephray.model.network import build_network

    keras.utils.set_random_seed(0)
    config = small_config("model.detection_scale=1.0", "model.spread=true", "loss.error=laplace",
                          "loss.unit=mm")  # fmt: skip
    folder = tmp_path_factory.mktemp("run") / "epoch-0001"
    progress = Progress().advance({"epoch": 1, "score": 1.0})
    save_checkpoint(folder, config, progress, build_network(config))
    return find_checkpoint(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def check(summary: Summary, output: Path, count: int) -> None:
    """What there is of a folder of `write_folder`."""
    assert summary.written == count - BROKEN
    assert [line.split(" is ")[0].rpartition("/")[2] for line in summary.unread[:4]] == [
        "cut.png", "no-picture.bmp", "empty.png", "report holds no pixel data: it",
    ]  # fmt: skip
    assert "text.jpg is not a readable image" in summary.unread[4]
    assert len(list(output.rglob("*.json"))) == len(list(output.rglob("*.png"))) == count - BROKEN
    rows = (output / "landmarks.csv").read_text().splitlines()
    assert len(rows) == 1 + (count - BROKEN) * len(ISBI2015)


def test_a_cluster_and_this_process_give_the_same_bytes(
    films: Path, checkpoint: Checkpoint, cluster: None, tmp_path: Path
) -> None:
    files = find_films([films])
    progress: list[int] = []
    here = predict_here(Detector(checkpoint), files, ISBI2015, 0.1)
    check(write_results(here, files, tmp_path / "here", progress.append), tmp_path / "here", 30)
    assert sum(progress) == 30
    there = on_cluster.predict_on_cluster(checkpoint, files, ISBI2015, 0.1)
    summary = write_results(there, files, tmp_path / "there", progress.append)
    check(summary, tmp_path / "there", 30)
    assert sum(progress) == 60
    assert str(summary) == "spacing of films: 25 by --spacing"
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def test_what_is_written_of_a_film(films: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Measurements are those of the landmarks; lines and confidence are there."""
    files = find_films([films / "a/003.png"])
    config = checkpoint.config
    inference = config.inference.model_copy(update={"confidence": (0.5, 1.5)})
    sure = replace(checkpoint, config=config.model_copy(update={"inference": inference}))
    for name, spacing_mm in (("unknown", None), ("known", 0.1)):
        outcomes = predict_here(Detector(sure), files, ISBI2015, spacing_mm)
        write_results(outcomes, files, tmp_path / name)
        facts = json.loads((tmp_path / name / "003.json").read_text())
        points_px = np.array([[point["x_px"], point["y_px"]] for point in facts["landmarks"]])
        values, classes = (f(points_px, spacing_mm) for f in (measure, classify))
        found = facts["measurements"]
        assert [entry["name"] for entry in found] == [m.name for m in MEASUREMENTS]
        assert [entry["class"] for entry in found] == classes.tolist()
        assert [entry["meaning"] for entry in found] == [
            measurement.meaning(number)
            for measurement, number in zip(MEASUREMENTS, classes, strict=True)
        ]
        known = [np.nan if entry["value"] is None else entry["value"] for entry in found]
        # Landmarks are written to a hundredth of a pixel.
        np.testing.assert_allclose(known, values, rtol=0.02, atol=0.2)
        table = list(csv.reader((tmp_path / name / "measurements.csv").read_text().splitlines()))
        assert len(table) == 2
        assert table[0][:5] == ["film", "ANB_degree", "ANB_class", "ANB_meaning", "SNB_degree"]
        assert table[1][0] == "003"
        assert table[1][2] == str(found[0]["class"])
        assert (found[-1]["value"] is None) == (spacing_mm is None)
        confidences = [point["confidence"] for point in facts["landmarks"]]
        assert all(0 < p < 1 if spacing_mm else p is None for p in confidences)
        rows = list(csv.reader((tmp_path / name / "landmarks.csv").read_text().splitlines()))
        assert rows[0] == ["film", "landmark", "x_px", "y_px", "confidence"]
        assert rows[1][4] == (str(confidences[0]) if spacing_mm else "")
        drawn = np.asarray(cv2.imread(str(tmp_path / name / "003.png")))
        plain = draw_overlay(read_film(files[0].path), points_px, ISBI2015.abbreviations)
        lined = draw_overlay(
            read_film(files[0].path), points_px, ISBI2015.abbreviations, lines=ISBI2015.lines
        )
        assert not np.array_equal(drawn, plain)
        assert np.mean(drawn != lined) < 0.01


def test_the_company_of_a_film_changes_nothing(films: Path, checkpoint: Checkpoint) -> None:
    files = find_films([films / "a"])[:7]
    detector = Detector(checkpoint)
    together = dict(predict_here(detector, files, ISBI2015))
    for number, file in enumerate(files):
        alone = dict(predict_here(detector, [file], ISBI2015))[0]
        expected = together[number]
        assert isinstance(alone, Result)
        assert isinstance(expected, Result)
        assert alone.facts == expected.facts
        assert alone.picture == expected.picture


def test_the_film_knows_best_how_large_it_is(tmp_path: Path, checkpoint: Checkpoint) -> None:
    y, x = np.mgrid[:120, :96]
    image = (x + y).astype(np.uint8)
    folder = tmp_path / "films"
    folder.mkdir()
    dicom_film(image, ImagerPixelSpacing=[0.2, 0.2]).save_as(
        folder / "own.dcm", enforce_file_format=True
    )
    dicom_film(image, PixelSpacing=[0.2, 0.1], PatientName="Doe^Jane").save_as(
        folder / "oblong.dcm", enforce_file_format=True
    )
    (folder / "none.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    files = find_films([folder])
    detector = Detector(checkpoint)
    for given, expected in ((0.3, 0.3), (None, None)):
        output = tmp_path / f"out{given}"
        summary = write_results(predict_here(detector, files, ISBI2015, given), files, output)
        facts = {path.stem: json.loads(path.read_text()) for path in output.glob("*.json")}
        assert facts["none"]["spacing_mm"] == expected
        assert facts["own"]["spacing_mm"] == 0.2
        assert facts["oblong"]["spacing_mm"] == 0.1
        assert facts["oblong"]["size_px"] == [96, 240]
        assert facts["oblong"]["resampled_from_px"] == [96, 120]
        assert facts["own"]["landmarks"] == facts["none"]["landmarks"]
        assert "1 by their ImagerPixelSpacing" in str(summary)
        assert ("1 by --spacing" if given else "1 unknown (--spacing MM gives it)") in str(summary)
    assert not any(b"Doe" in content for content in contents(tmp_path / "out0.3").values())


def test_one_odd_film_does_not_end_the_others(
    monkeypatch: pytest.MonkeyPatch, films: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    def odd(path: Path) -> Original:
        raise MemoryError("900 GB")

    monkeypatch.setattr("cephray.predict.read_original", odd)
    error = read(0, FilmFile("x", Path("x.png")), View(96, 64), 19, None)
    assert isinstance(error, InputError)
    assert "x.png cannot be read (MemoryError: 900 GB)" in str(error)
    monkeypatch.undo()

    thread = tmp_path / "thread.png"
    thread.write_bytes(cv2.imencode(".png", np.zeros((9000, 3), np.uint8))[1].tobytes())
    files = [*find_films([films / "a"])[:1], FilmFile("thread", thread)]
    found = dict(predict_here(Detector(checkpoint), files, ISBI2015))
    assert isinstance(found[0], Result)
    assert "3 × 9000 pixels cannot be drawn" in str(found[1])


def test_results_never_overwrite_a_film(films: Path, tmp_path: Path) -> None:
    files = find_films([films])
    with pytest.raises(InputError, match=r"would overwrite film .*a/000.png; give another"):
        require_own_output(films, files)
    require_own_output(films / "a", files)  # as a/a and a/b
    require_own_output(tmp_path / "new/folder", files)
    with pytest.raises(InputError, match="is a file; give a folder"):
        require_own_output(films / "a/000.png" / "out", files)


def test_a_full_disk_is_one_line(films: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    files = find_films([films / "a/000.png"])
    (tmp_path / "out/000.png").mkdir(parents=True)
    with pytest.raises(RunError, match=r"results .*000\.\* could not be written"):
        write_results(predict_here(Detector(checkpoint), files, ISBI2015), files, tmp_path / "out")


def test_a_stop_leaves_whole_results_and_their_table(
    films: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    files = find_films([films / "a"])

    def stopped() -> Iterator[Outcome]:
        found = predict_here(Detector(checkpoint), files, ISBI2015)
        yield from (next(found), next(found))
        raise Stopped(signal.SIGTERM, "stopped by SIGTERM at once")

    with pytest.raises(Stopped, match=f"at once; 2 of {len(files)} films have their results in"):
        write_results(stopped(), files, tmp_path)
    assert len((tmp_path / "landmarks.csv").read_text().splitlines()) == 1 + 2 * len(ISBI2015)


def test_when_a_cluster_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert not on_cluster.wants_cluster(on_cluster.A_HANDFUL, None)
    assert on_cluster.wants_cluster(on_cluster.A_HANDFUL + 1, None)
    assert on_cluster.wants_cluster(1, 2)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert not on_cluster.wants_cluster(1, None)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert on_cluster.wants_cluster(1, None)


def test_room_for_workers(cluster: None) -> None:
    assert on_cluster.room_for(None, 9, 1, print) == (1, 2)
    assert on_cluster.room_for(2, 9, 1, print) == (2, 1)
    with pytest.raises(RunError, match=r"asked for 3 workers of 1 CPU .*use fewer workers"):
        on_cluster.room_for(3, 9, 1, lambda line: None)


def test_a_checkpoint_that_is_not_on_every_node(
    films: Path, checkpoint: Checkpoint, cluster: None, tmp_path: Path
) -> None:
    shutil.copytree(Path(str(checkpoint.folder)), tmp_path / "moved")
    moved = find_checkpoint(tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved")
    files = find_films([films])
    with pytest.raises(InputError, match="does not exist on every node; put it on a path"):
        list(on_cluster.predict_on_cluster(moved, files, ISBI2015))


def test_a_cluster_that_stands_still(
    monkeypatch: pytest.MonkeyPatch, films: Path, checkpoint: Checkpoint, cluster: None
) -> None:
    import ray

    class Other:
        def hold(self) -> None: ...

    task: Any = ray.remote(num_cpus=2)(Other)
    other = task.remote()
    ray.get(other.hold.remote())
    monkeypatch.setattr(on_cluster, "_STANDSTILL_S", 5.0)
    started = time.monotonic()
    with pytest.raises(
        RunError, match=r"no film came back for 5 s; asked for 1 worker of 2 CPUs.*--num-workers"
    ):
        list(on_cluster.predict_on_cluster(checkpoint, find_films([films]), ISBI2015))
    assert time.monotonic() - started < 60
    ray.kill(other)


@pytest.mark.slow
def test_a_killed_worker_is_replaced(
    checkpoint: Checkpoint, cluster: None, tmp_path: Path
) -> None:
    files = find_films([write_folder(tmp_path, 200)])
    found = on_cluster.predict_on_cluster(checkpoint, files, ISBI2015)
    outcomes = [next(found)]
    workers = ray_processes(os.getpid(), "ray::MapWorker")
    assert workers
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    outcomes += found
    assert sorted(number for number, _ in outcomes) == list(range(200))


@pytest.mark.slow
def test_two_machines_give_the_same(films: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    import ray
    from ray.cluster_utils import Cluster

    if ray.is_initialized():
        ray.shutdown()
    head = {"num_cpus": 1, "include_dashboard": False}
    machines = Cluster(initialize_head=True, head_node_args=head)
    machines.add_node(num_cpus=1)
    ray.init(address=machines.address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        assert on_cluster.room_for(None, 9, 30, print) == (2, 1)
        assert on_cluster.room_for(None, 1, 30, print) == (1, 1)
        files = find_films([films])
        there = on_cluster.predict_on_cluster(checkpoint, files, ISBI2015)
        check(write_results(there, files, tmp_path / "there"), tmp_path / "there", 30)
    finally:
        ray.shutdown()
        machines.shutdown()  # type: ignore[no-untyped-call]
    here = predict_here(Detector(checkpoint), files, ISBI2015)
    write_results(here, files, tmp_path / "here")
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def command(checkpoint: Checkpoint, output: Path, *rest: str | Path) -> list[str]:
    return [
        sys.executable, "-m", "cephray.cli", "predict", "--checkpoint", str(checkpoint.folder),
        "--output", str(output), *map(str, rest),
    ]  # fmt: skip


@pytest.mark.parametrize("count", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_a_folder_with_broken_films(checkpoint: Checkpoint, tmp_path: Path, count: int) -> None:
    """As a user meets it: results of all the others, a line each, and the exit code."""
    folder, output = write_folder(tmp_path, count), tmp_path / "out"
    ended = subprocess.run(
        command(checkpoint, output, folder), env=os.environ | {"RAY_ADDRESS": "local"},
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    *unread, last = ended.stderr.splitlines()
    assert last == f"cephray: {BROKEN} of {count} films could not be read"
    passed_over = "cephray: passed over: film "
    assert all(line.startswith(passed_over) for line in unread), ended.stderr
    spacing = f"spacing of films: {count - BROKEN} unknown (--spacing MM gives it)"
    assert ended.stdout.splitlines() == [
        f"{count - BROKEN} of {count} films: results in {output}", spacing,
    ]  # fmt: skip
    unread = [line.removeprefix("cephray: passed over: ") for line in unread]
    check(Summary(written=count - BROKEN, unread=unread), output, count)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_one_line(
    checkpoint: Checkpoint, tmp_path: Path, number: int, code: int
) -> None:
    folder, output = write_folder(tmp_path, 600), tmp_path / "out"
    with subprocess.Popen(
        command(checkpoint, output, folder), env=os.environ | {"RAY_ADDRESS": "local"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        wait_until(
            lambda: process.poll() is not None or list(output.rglob("*.json")), "first result"
        )
        below = descendants(process.pid)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert len(said.splitlines()) == 1, said
    assert "of 600 films have their results in" in said
    assert (output / "landmarks.csv").exists()
    wait_until(lambda: not set(below) & set(psutil.pids()), "end of all processes", 60)


def test_reading_and_drawing_need_no_tensorflow() -> None:
    """Their processes start within a second, and hold 100 MB each."""
    code = "import sys, cephray.predict_on_cluster; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
