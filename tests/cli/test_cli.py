"""The command line as a user meets it, by exit code and one line.

Each command runs in a process of its own once; what else is asked of it runs in this process,
which has TensorFlow already.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cephray.cli.__main__ import main
from cephray.config import Config, load_config
from cephray.data import read_dataset, write_dataset
from tests.conftest import SMALL

Ended = subprocess.CompletedProcess[str]


def run(*arguments: str | Path, **environment: str) -> Ended:
    return subprocess.run(
        [sys.executable, "-m", "cephray.cli", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def fails(code: int, *arguments: str | Path) -> str:
    """Run a command that must fail; return its one line."""
    ended = run(*arguments)
    assert ended.returncode == code, ended.stderr
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    return lines[0]


@pytest.fixture
def run_here(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command in this process; what native code writes counts too."""

    def run(*arguments: str | Path) -> Ended:
        capfd.readouterr()
        code = main([*map(str, arguments)])
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run


@pytest.fixture
def refused(run_here: Callable[..., Ended]) -> Callable[..., str]:
    """Run a command that must fail in this process; return its one line."""

    def run(*arguments: str | Path) -> str:
        ended = run_here(*arguments)
        assert ended.returncode == 2, ended.stderr
        [line] = ended.stderr.strip().splitlines()
        return line

    return run


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "films"
    write_dataset(folder, 6, size_px=(240, 300))
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a network that was never trained: the command line does not care."""
    import keras

    from cephray.checkpoint import Progress, save_checkpoint
    from cephray.model import build_network

    keras.utils.set_random_seed(0)
    config = load_config(overrides=SMALL)
    folder = tmp_path_factory.mktemp("run") / "epoch-0001"
    progress = Progress().advance({"epoch": 1, "score": 1.0})
    save_checkpoint(folder, config, progress, build_network(config))
    return folder


@pytest.mark.parametrize("command", [["-m", "cephray.cli", "--help"], ["-c", "import cephray"]])
def test_answers_at_once(command: list[str]) -> None:
    """The quickest of three, for the machine may be busy."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.5


def test_info_knows_the_build_and_the_environment_does_not_choose_the_backend() -> None:
    ended = run("info", "--json", KERAS_BACKEND="jax")
    assert ended.returncode == 0, ended.stderr
    facts = json.loads(ended.stdout)
    assert facts["op"] == "loads"
    assert facts["build"]["tensorflow"] == facts["packages"]["tensorflow"]


def test_evaluate_and_predict_agree(
    films: Path, checkpoint: Path, tmp_path: Path, run_here: Callable[..., Ended]
) -> None:
    report = tmp_path / "evaluate.json"
    ended = run("evaluate", "--checkpoint", checkpoint, "--data", films, "--split", "test1",
                "--json", report, "--output", tmp_path)  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "Soft tissue pogonion" in ended.stdout
    facts = json.loads(report.read_text())
    assert {"split", "ground_truth", "films", "mre_mm", "sd_mm", "sdr_percent", "landmarks",
            "films_detail", "coarse"} <= facts.keys()  # fmt: skip
    assert facts["films"] == 3
    assert set(facts["sdr_percent"]) == {"2.0", "2.5", "3.0", "4.0"}
    errors = [film["errors_mm"] for film in facts["films_detail"]]
    assert np.mean(errors) == pytest.approx(facts["mre_mm"])
    assert "95 % intervals" in ended.stdout
    assert facts["subsets"][0]["name"] == "without_training_copies"
    assert facts["copies"] == {"in_training": {}, "repeated": {}}
    assert [readers["reader"] for readers in facts["readers"]] == ["each", "junior"]
    assert len(list((tmp_path / "overlays").glob("*.png"))) == 3
    assert f"report {tmp_path / 'report.html'}" in ended.stdout
    assert "Soft tissue pogonion" in (tmp_path / "report.html").read_text()
    assert len(list((tmp_path / "pictures").glob("landmark-*.png"))) == 19

    assert [c["subject"] for c in facts["classes"]] == ["prediction", "junior"]
    assert "prediction against the truth" in ended.stdout

    folder = films / "Dataset/Testing/Test1"
    predict = ("predict", "--checkpoint", checkpoint.parent, "--output", tmp_path / "out", folder)
    ended = run_here(*predict)
    assert ended.returncode == 0, ended.stderr
    film = facts["films_detail"][0]["film"]
    points = json.loads((tmp_path / "out" / f"{film}.json").read_text())
    assert points["size_px"] == [240, 300]
    predicted = np.array([[p["x_px"], p["y_px"]] for p in points["landmarks"]])
    truth = np.loadtxt(films / "Annotations/Senior Orthodontist" / f"{film}.txt", delimiter=",")
    other = np.loadtxt(films / "Annotations/Junior Orthodontist" / f"{film}.txt", delimiter=",")
    errors_mm = np.linalg.norm(predicted - (truth + other) / 2, axis=-1) * 240 / 300
    np.testing.assert_allclose(errors_mm, errors[0], atol=0.02)
    table = (tmp_path / "out/landmarks.csv").read_text().splitlines()
    assert len(table) == 1 + 3 * 19


def test_a_compact_checkpoint_predicts(
    films: Path, checkpoint: Path, tmp_path: Path, run_here: Callable[..., Ended]
) -> None:
    ended = run("compact", "--checkpoint", checkpoint, "--output", tmp_path / "half",
                "--set", "inference.looks=1")  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert f"in {tmp_path / 'half'}: " in ended.stdout
    film = films / "Dataset/Testing/Test1/004.png"
    ended = run_here(
        "predict", "--checkpoint", tmp_path / "half", "--output", tmp_path / "out", film
    )
    assert ended.returncode == 0, ended.stderr
    facts = json.loads((tmp_path / "out/004.json").read_text())
    assert len(facts["measurements"]) == 8
    assert "FHI_ratio" in (tmp_path / "out/measurements.csv").read_text()


def test_two_checkpoints_are_an_ensemble(
    films: Path,
    checkpoint: Path,
    tmp_path: Path,
    run_here: Callable[..., Ended],
    refused: Callable[..., str],
) -> None:
    both = ("--checkpoint", checkpoint, "--checkpoint", checkpoint)
    ended = run_here("evaluate", *both, "--data", films, "--split", "test1", "--output", tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert f"ensemble of 2 checkpoints {checkpoint}, {checkpoint}" in ended.stdout
    assert f", epoch 1 and {checkpoint}, epoch 1." in (tmp_path / "report.html").read_text()
    told = refused("compact", *both, "--output", tmp_path / "half")
    assert f"--checkpoint: one is wanted here; got {checkpoint}, {checkpoint}" in told


def test_what_cannot_be_calibrated(
    films: Path, checkpoint: Path, refused: Callable[..., str]
) -> None:
    told = fails(2, "calibrate", "--checkpoint", checkpoint, "--data", films, "--split", "test1")
    assert "knows no spread" in told
    told = refused("evaluate", "--checkpoint", checkpoint, "--data", films, "--split", "test1",
                   "--set", "model.head=dense")  # fmt: skip
    assert told.endswith(
        "--set model.head: a trained network cannot change it; only keys of the section "
        "inference can be set"
    )


def test_calibration_takes_the_films_that_each_fold_held_out(
    tmp_path: Path, small_config: Callable[..., Config], run_here: Callable[..., Ended],
    refused: Callable[..., str],
) -> None:  # fmt: skip
    """Two folds of 24 films: each film counts once, and no run may hold out the same ones."""
    from cephray.checkpoint import Progress, save_checkpoint
    from cephray.model import build_network

    write_dataset(tmp_path / "data", 48, size_px=(96, 120))
    records = read_dataset(tmp_path / "data", "train", load_config().data)
    mean_shape = np.mean([(r.landmarks_px + 0.5) / (96, 120) for r in records], axis=0)
    folds: list[Path] = []
    for fold in (0, 1, 1):
        config = small_config("model.spread=true", "loss.error=laplace", "loss.unit=mm",
                              "data.holdout_fraction=0.5", f"data.fold={fold}",
                              "data.validation=holdout", "data.spacing_mm=0.9",
                              "model.detection_prior=mean_shape",
                              "model.detection_scale=0.0001")  # fmt: skip
        network = build_network(config, pretrained=False)
        network.get_layer("detection").prior.assign(mean_shape)
        heads = network.get_layer("refinement")
        for weight in heads.weights:
            if "output" in weight.name:
                weight.assign(0 * weight)
        folds.append(tmp_path / f"run-{len(folds)}")
        save_checkpoint(folds[-1], config, Progress(), network)
    checkpoints = [("--checkpoint", folder) for folder in folds]
    ended = run_here("calibrate", *checkpoints[0], *checkpoints[1], "--data", tmp_path / "data")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("24 films of validation, checkpoint")
    assert "\ninference.radius_factor=" in ended.stdout
    told = refused("calibrate", *checkpoints[1], *checkpoints[2], "--data", tmp_path / "data")
    assert "was held out by two of the runs" in told


def test_data_check_tells_notes_from_faults(
    films: Path,
    tmp_path: Path,
    run_here: Callable[..., Ended],
    refused: Callable[..., str],
) -> None:
    report = tmp_path / "check" / "found.json"
    ended = run("data-check", "--data", films, "--json", report)
    assert ended.returncode == 0, ended.stderr
    assert "faults   none" in ended.stdout
    assert json.loads(report.read_text())["splits"] == {"train": 3, "test1": 3}
    spoilt = Path(shutil.copytree(films, tmp_path / "films"))
    (spoilt / "Dataset/Training/001.png").write_bytes(b"no picture")
    ended = run_here("data-check", "--data", spoilt, "--set", "data.reader=senior")
    assert ended.returncode == 1
    assert "001.png is not a readable image" in ended.stdout
    assert "1 of 6 films cannot be used" in ended.stderr
    line = refused("data-check", "--data", films, "--config", tmp_path / "no.yaml")
    assert "no.yaml': is neither a preset nor a file" in line
    assert "does not exist" in refused("data-check", "--data", tmp_path / "nowhere")


def test_predict_passes_over_a_broken_film(
    films: Path,
    checkpoint: Path,
    tmp_path: Path,
    run_here: Callable[..., Ended],
    refused: Callable[..., str],
) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    good = next((films / "Dataset/Training").iterdir())
    (folder / good.name).write_bytes(good.read_bytes())
    (folder / "broken.png").write_bytes(b"no picture")
    ended = run_here("predict", "--checkpoint", checkpoint, "--output", tmp_path / "out", folder)
    assert ended.returncode == 1
    assert "broken.png is not a readable image" in ended.stderr
    assert (tmp_path / "out" / f"{good.stem}.json").exists()
    line = refused("predict", "--checkpoint", checkpoint, "--output", tmp_path / "x",
                   tmp_path / "none.png")  # fmt: skip
    assert "no such film or folder" in line
    assert not (tmp_path / "x").exists()


def test_wrong_input_is_one_line_and_writes_nothing(
    films: Path, checkpoint: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    out = tmp_path / "out"
    train = ("train", "--data", films, "--output", out)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "unknown config key 'model.depth'" in fails(2, *train, "--set", "model.depth=1")
    assert "'model.backbone'" in refused(*train, "--set", "model.backbone=alexnet")
    assert "unknown argument '--wrokers'" in fails(2, *train, "--wrokers", "2")
    assert str(empty) in refused("train", "--data", empty, "--output", out)
    assert "none" in refused("train", "--data", tmp_path / "none", "--output", out)
    assert "holds another run" in refused("train", "--data", films, "--output", checkpoint)
    assert "test3" in fails(
        2, "evaluate", "--checkpoint", checkpoint, "--data", films, "--split", "test3"
    )
    assert "test2" in refused(
        "evaluate", "--checkpoint", checkpoint, "--data", films, "--split", "test2"
    )
    assert "cannot be written to" in refused(
        "evaluate", "--checkpoint", checkpoint, "--data", films, "--split", "test1",
        "--output", checkpoint / "config.yaml",
    )  # fmt: skip
    assert "neither a checkpoint" in refused(
        "evaluate", "--checkpoint", empty, "--data", films, "--split", "test1"
    )
    assert not out.exists()


def test_resume_refuses_other_settings(
    films: Path, checkpoint: Path, refused: Callable[..., str]
) -> None:
    line = refused("train", "--data", films, "--output", checkpoint, "--resume",
                   "--set", "model.head_units=99")  # fmt: skip
    assert "cannot resume with model.head_units=99: the run began with 8" in line
