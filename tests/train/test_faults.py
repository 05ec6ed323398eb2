"""Faults are injected for real: processes killed, disks filled, losses that overflow.

What is compared is what a user would compare: exit code, the one line, and the final weights.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import ray
from safetensors.numpy import load_file

from cephray.config import Config
from cephray.data.pipeline import epoch_order
from cephray.data.synthetic import write_dataset
from cephray.data.table import Films, FilmTable
from cephray.errors import RunError, Stopped
from cephray.files import replace_text
from cephray.model.network import build_network
from cephray.train.checkpoint import (
    Checkpoint,
    Progress,
    checkpoints_in,
    find_checkpoint,
    save_checkpoint,
)
from cephray.train.launch import _decode as decode_plan
from cephray.train.launch import launch as launch_plan
from cephray.train.loop import train
from cephray.train.ownership import require_ownership, take_ownership
from cephray.train.plan import Plan, plan_run
from cephray.train.signals import StopRequest
from cephray.train.snapshot import SNAPSHOT, forget_damaged_snapshot
from tests.conftest import SMALL
from tests.train.processes import descendants, train_workers, training, wait_until
from tests.train.test_loop import FolderContext, weights_of

MakeConfig = Callable[..., Config]
MakeTable = Callable[[int], FilmTable]

# Three epochs of eleven steps: long enough to be hit in the middle.
LONG = (*SMALL, "data.training=all", "train.global_batch_size=2", "train.epochs=3")
FILES = (
    "weights.safetensors",
    "optimizer.safetensors",
    "config.yaml",
    "progress.json",
    "manifest.json",
)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw 22 films."""
    folder = tmp_path_factory.mktemp("data") / "films"
    write_dataset(folder, 22, size_px=(192, 240))
    return folder


@pytest.fixture
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def undisturbed(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Train without any fault, once for each number of workers; return the last checkpoint."""
    ends: dict[int, Path] = {}

    def run(workers: int) -> Path:
        if workers not in ends:
            output = tmp_path_factory.mktemp("undisturbed") / "run"
            with training(films, output, LONG, f"--num-workers={workers}") as process:
                _, said = process.communicate(timeout=500)
                assert process.returncode == 0, said
            ends[workers] = output / "epoch-0003"
        return ends[workers]

    return run


def launch(data: Path, output: Path, config: Config, **options: Any) -> Checkpoint:
    show = options.pop("show", lambda line: None)
    return launch_plan(plan_run(data, output, config, show=show, **options), show=show)


def is_saved(output: Path, epoch: int) -> bool:
    return (output / f"epoch-{epoch:04d}/manifest.json").exists()


def one_line(process: subprocess.Popen[str], code: int) -> str:
    """Wait for the end of a command that must fail; return what it says of it."""
    _, said = process.communicate(timeout=500)
    assert process.returncode == code, said
    lines = said.strip().splitlines()
    assert len(lines) == 1, said
    return lines[0]


def assert_same_end(output: Path, whole: Path, workers: int = 1) -> None:
    """One worker ends in the same bits; two within 1e-6 of the largest weight."""
    ended = load_file(output / "epoch-0003/weights.safetensors")
    for name, expected in load_file(whole / "weights.safetensors").items():
        if workers == 1:
            np.testing.assert_array_equal(ended[name], expected, err_msg=name)
        else:
            atol = 1e-6 * max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(ended[name], expected, rtol=0, atol=atol, err_msg=name)
    history = [row["epoch"] for row in find_checkpoint(output).progress.history]
    assert history == [1, 2, 3]
    rows = (output / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2", "3"]


# A loss that is not finite


class CountingContext(FolderContext):
    """Counts the steps: the loop asks at each whether to stop; says so at the wanted one."""

    stops_at: int | None = None

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.steps = 0

    def should_stop(self) -> bool:
        self.steps += 1
        return self.steps == self.stops_at


def test_a_loss_that_is_not_finite_ends_the_run_within_two_steps(
    tmp_path: Path, small_config: MakeConfig, make_table: MakeTable
) -> None:
    config = small_config("train.global_batch_size=1", "model.detection_prior=none")
    table = make_table(8)
    context = CountingContext(tmp_path)
    films = Films(table, None)
    train(small_config("train.global_batch_size=1", "train.epochs=1"), films, context)
    whole = weights_of(tmp_path / "epoch-0001")

    context.steps = 0
    landmarks = table.landmarks_norm.copy()
    landmarks[epoch_order(8, config.train.seed, 2)[1]] = 1e30  # its square overflows
    broken = Films(replace(table, landmarks_norm=landmarks), None)
    with pytest.raises(
        RunError, match=r"loss is inf at epoch 2, step 2 .*; the checkpoint of epoch 1 is intact"
    ):
        train(config, broken, context)
    assert context.steps == 4
    assert weights_of(tmp_path / "epoch-0001") == whole
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0001"]


@pytest.mark.slow
def test_two_workers_end_together_where_the_loss_of_one_is_not_finite(
    cluster: None,
    films: Path,
    tmp_path: Path,
    small_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decode_broken(plan: Plan) -> Films:
        table = decode_plan(plan).training
        landmarks = table.landmarks_norm.copy()
        landmarks[0] = 1e30
        return Films(replace(table, landmarks_norm=landmarks), None)

    monkeypatch.setattr("cephray.train.launch._decode", decode_broken)
    config = small_config("train.num_workers=2", "model.detection_prior=none")
    with pytest.raises(
        RunError, match=r"loss is inf at epoch 1, step . \(films .*001.*\); no epoch had ended yet"
    ):
        launch(films, tmp_path / "run", config)
    assert checkpoints_in(tmp_path / "run") == []


# Stopped within an epoch


def test_stopped_within_an_epoch_goes_on_to_the_same_weights(
    tmp_path: Path, small_config: MakeConfig, make_table: MakeTable
) -> None:
    config = small_config("train.global_batch_size=1", "augment.flip.enabled=true")
    films = Films(make_table(5), None)
    train(config, films, FolderContext(tmp_path / "whole"))
    for stops_at, step in ((7, 4), (1, 5)):  # it takes two steps more
        parts = CountingContext(tmp_path / "parts")
        parts.stops_at = stops_at
        reached = train(config, films, parts)
        assert (reached.epoch, str(reached)) == (1, f"epoch 2, step {step}")
        assert find_checkpoint(tmp_path / "parts").progress.step == 0
    second = FolderContext(tmp_path / "parts")
    train(config, films, second)
    assert weights_of(tmp_path / "parts/epoch-0002") == weights_of(tmp_path / "whole/epoch-0002")
    whole = find_checkpoint(tmp_path / "whole").progress.history[-1]
    for name in ("loss", "train_refined_mre_mm", "score"):
        assert second.rows[-1][name] == whole[name]


def test_the_first_signal_waits_and_the_second_ends() -> None:
    request = StopRequest()
    request.can_wait = True
    request.receive(signal.SIGTERM)
    assert request.signal is signal.SIGTERM
    with pytest.raises(Stopped, match="stopped by SIGINT") as stopped:
        request.receive(signal.SIGINT)
    assert stopped.value.code == 130


@pytest.mark.slow
def test_a_driver_told_to_stop_saves_within_the_epoch(
    films: Path, tmp_path: Path, undisturbed: Callable[[int], Path]
) -> None:
    output = tmp_path / "run"
    with training(films, output, LONG) as process:
        wait_until(lambda: is_saved(output, 1), "first checkpoint")
        os.kill(process.pid, signal.SIGTERM)
        line = one_line(process, 143)
    assert "stopped by SIGTERM after epoch" in line
    assert "is intact: go on with --resume" in line
    with training(films, output, (), "--resume") as process:
        wait_until(lambda: train_workers(process.pid), "worker")
        # As a terminal does: to the whole group.
        os.killpg(process.pid, signal.SIGINT)
        line = one_line(process, 130)
    assert "stopped by SIGINT" in line
    assert "is intact: go on with --resume" in line
    with training(films, output, (), "--resume") as process:
        _, said = process.communicate(timeout=500)
        assert process.returncode == 0, said
    assert_same_end(output, undisturbed(1))


# Killed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "number"), [(1, signal.SIGKILL), (1, signal.SIGTERM), (2, signal.SIGKILL)]
)
def test_a_killed_worker_is_replaced(
    workers: int,
    number: signal.Signals,
    films: Path,
    tmp_path: Path,
    undisturbed: Callable[[int], Path],
) -> None:
    output = tmp_path / "run"
    with training(films, output, LONG, f"--num-workers={workers}") as process:
        wait_until(lambda: is_saved(output, 1), "first checkpoint")
        killed = train_workers(process.pid)
        os.kill(killed[-1], number)
        _, said = process.communicate(timeout=500)
        assert process.returncode == 0, said
    assert len(killed) == workers
    assert_same_end(output, undisturbed(workers), workers)


@pytest.mark.slow
def test_a_killed_driver_leaves_a_run_to_resume(
    films: Path, tmp_path: Path, undisturbed: Callable[[int], Path]
) -> None:
    output = tmp_path / "run"
    with training(films, output, LONG) as process:
        wait_until(lambda: is_saved(output, 1), "first checkpoint")
        below = descendants(process.pid)
        process.kill()
        process.wait()
        with training(films, output, (), "--resume") as second:
            _, said = second.communicate(timeout=500)
            assert second.returncode == 0, said
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), "end of orphans")
    assert_same_end(output, undisturbed(1))


def test_a_worker_whose_run_was_taken_over_writes_nothing(tmp_path: Path) -> None:
    first = take_ownership(tmp_path)
    require_ownership(tmp_path, first)
    second = take_ownership(tmp_path)
    with pytest.raises(RunError, match="taken over by another `cephray train`"):
        require_ownership(tmp_path, first)
    require_ownership(tmp_path, second)


# Cut short


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, small_config: MakeConfig) -> Path:
    """Save two epochs of a network of one layer."""
    run = tmp_path_factory.mktemp("tiny")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="dense")])
    optimizer = keras.optimizers.Adam(name="adam")
    optimizer.build(model.trainable_variables)
    progress = Progress()
    for epoch in (1, 2):
        progress = progress.advance({"epoch": epoch, "score": -epoch})
        save_checkpoint(run / f"epoch-{epoch:04d}", small_config(), progress, model, optimizer)
    return run


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_after_a_file_cut_short_the_checkpoint_before_is_the_last(
    name: str, kept: float, tiny_run: Path
) -> None:
    path = tiny_run / "epoch-0002" / name
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    try:
        assert [found.progress.epoch for found in checkpoints_in(tiny_run)] == [1]
        assert find_checkpoint(tiny_run).progress.epoch == 1
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("content", "stays"),
    [
        ('{"checkpoint_results": [{"checkpoint_dir_name": "epoch-0002"}]}', True),
        ('{"checkpoint_results": [{"checkpoint_dir_name": "epoch-0009"}]}', False),
        ('{"checkpoint_results": [{"checkp', False),
        ("", False),
    ],
)
def test_a_note_that_ray_could_not_start_from_is_removed(
    content: str, stays: bool, tiny_run: Path
) -> None:
    (tiny_run / SNAPSHOT).write_text(content)
    forget_damaged_snapshot(tiny_run)
    assert (tiny_run / SNAPSHOT).exists() == stays


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk that holds one checkpoint of the small network, and not two."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk; the test with an obstacle covers the rest")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.slow
def test_a_full_disk_ends_in_one_line_and_leaves_the_last_checkpoint(
    cluster: None, small_disk: Path, films: Path, small_config: MakeConfig
) -> None:
    """A real one: a tmpfs of 200 MB."""
    output = small_disk / "run"
    with pytest.raises(
        RunError,
        match=r"epoch-0002 could not be written: .*No space left on device; make room; "
        r"the checkpoint of epoch 1 is intact: go on with --resume",
    ):
        launch(films, output, small_config())
    assert [found.progress.epoch for found in checkpoints_in(output)] == [1]
    assert not (output / "epoch-0002").exists()
    find_checkpoint(output).load_weights(build_network(small_config()))
    subprocess.run(["mount", "-o", "remount,size=900m", str(small_disk)], check=True)
    best = launch(films, output, small_config(), resume=True)
    assert [row["epoch"] for row in best.progress.history] == [1, 2]


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_written_ends_in_one_line(
    cluster: None, films: Path, tmp_path: Path, small_config: MakeConfig
) -> None:
    """Without a mount: a file lies where the second checkpoint belongs. Two workers end."""
    output = tmp_path / "run"

    def block(line: str) -> None:
        if line.startswith("epoch 1/2"):
            (output / "epoch-0002").write_text("in the way")

    config = small_config("train.num_workers=2", "train.max_failures=0")
    with pytest.raises(
        RunError, match=r"epoch-0002 could not be written: .*the checkpoint of epoch 1 is intact"
    ):
        launch(films, output, config, show=block)
    assert [found.progress.epoch for found in checkpoints_in(output)] == [1]


def test_a_file_that_cannot_be_replaced_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"
    replace_text(path, "first")

    def full(self: Path, *args: Any, **options: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        replace_text(path, "second")
    assert path.read_text() == "first"
    assert [found.name for found in tmp_path.iterdir()] == ["config.yaml"]


def test_an_old_checkpoint_has_no_steps(tiny_run: Path) -> None:
    """As written before runs could stop within an epoch."""
    old = json.loads((tiny_run / "epoch-0001/progress.json").read_text())
    del old["step_sums"]
    assert Progress(**old).step == 0
