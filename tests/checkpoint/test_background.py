"""Checkpoints written in the background: one at a time, and no more kept than are needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cephray.checkpoint import Content, Progress, background, checkpoints_in, write_checkpoint
from cephray.checkpoint.background import CheckpointWriter
from cephray.config import Config
from cephray.errors import InputError, RunError

MakeConfig = Callable[..., Config]
MakeContent = Callable[..., Content]


@pytest.fixture
def content(small_config: MakeConfig) -> MakeContent:
    """Make the content of a checkpoint of one weight after epochs with these scores."""

    def make(*scores: float, step: int = 0) -> Content:
        rows = [{"score": score} for score in scores]
        progress = Progress(len(scores), "films", rows, [[0.0]] * step)
        return Content(small_config(), progress, {"w": np.array([len(scores)])})

    return make


def writer(run: Path, num_best: int = 1, allow: Callable[[], None] = lambda: None) -> Any:
    run.mkdir(exist_ok=True)
    return CheckpointWriter(run, checkpoints_in(run), num_best, allow)


def names(run: Path) -> list[str]:
    return [found.folder.name for found in checkpoints_in(run)]


@pytest.mark.parametrize(
    ("scores", "num_best", "kept"),
    [
        ([3, 2, 4], 1, [2, 3]),
        ([1, 2, 4], 1, [1, 3]),
        ([3, 2, 1], 1, [3]),
        ([2, 2, 4], 1, [1, 3]),  # of equal scores the first
        ([-1, -2, -3], 2, [2, 3]),  # without validation
        ([1, 5, 2, 4], 2, [1, 3, 4]),
    ],
)
def test_the_best_and_the_last_are_kept(
    scores: list[float], num_best: int, kept: list[int], tmp_path: Path, content: MakeContent
) -> None:
    run = writer(tmp_path / "run", num_best)
    for epoch in range(1, len(scores) + 1):
        run.write(lambda done=epoch: content(*scores[:done]))
    run.wait()
    assert names(tmp_path / "run") == [f"epoch-{epoch:04d}" for epoch in kept]


def test_a_resumed_run_keeps_the_best_of_before(tmp_path: Path, content: MakeContent) -> None:
    first = writer(tmp_path / "run")
    first.write(lambda: content(1))
    first.write(lambda: content(1, 2))
    first.wait()
    second = writer(tmp_path / "run")
    second.write(lambda: content(1, 2, step=4))
    second.write(lambda: content(1, 2, 3))
    second.wait()
    assert names(tmp_path / "run") == ["epoch-0001", "epoch-0003"]


def test_what_a_killed_worker_left_is_removed_and_nothing_else(
    tmp_path: Path, content: MakeContent
) -> None:
    run = tmp_path / "run"
    for name in ("epoch-0001-step-00007", "epoch-0002", "tensorboard", "my-epoch-0001"):
        (run / name).mkdir(parents=True)
        (run / name / "weights.safetensors").write_text("half")
    begun = writer(run)
    begun.write(lambda: content(1))
    begun.wait()
    left = sorted(path.name for path in run.iterdir())
    assert left == ["epoch-0001", "my-epoch-0001", "tensorboard"]


def test_a_checkpoint_is_written_while_the_caller_goes_on_and_never_two_at_once(
    tmp_path: Path, content: MakeContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, most, slow_disk = 0, 0, threading.Event()

    def slowly(*args: Any) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        assert slow_disk.wait(60)
        write_checkpoint(*args)
        at_once -= 1

    monkeypatch.setattr(background, "write_checkpoint", slowly)
    run = writer(tmp_path / "run")
    assert not run.is_busy
    run.write(lambda: content(1))
    assert run.is_busy  # and this thread has gone on
    made: list[str] = []

    def second() -> Content:
        made.extend(names(tmp_path / "run"))
        return content(1, 2)

    threading.Timer(0.2, slow_disk.set).start()
    run.write(second)
    assert made == ["epoch-0001"]  # copied once the one before was complete
    run.wait()
    assert not run.is_busy
    assert most == 1
    assert names(tmp_path / "run") == ["epoch-0001", "epoch-0002"]


def test_a_full_disk_is_told_by_the_next_call(
    tmp_path: Path, content: MakeContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = writer(tmp_path / "run")
    run.write(lambda: content(1))
    run.wait()

    def full(folder: Path, content: Content) -> None:
        folder.mkdir()
        (folder / "weights.safetensors").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(background, "write_checkpoint", full)
    run.write(lambda: content(1, 2))
    while run.is_busy:
        pass
    assert run.has_failed
    message = r"epoch-0002 could not be written: .*No space left .*; make room; the checkpoint of "
    with pytest.raises(RunError, match=message + "epoch 1 is intact: go on with --resume"):
        run.write(lambda: content(1, 2, 3))
    assert not run.has_failed
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["epoch-0001"]


def test_a_store_that_refuses_ends_the_run_as_a_full_disk_does(
    tmp_path: Path, content: MakeContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop tells the other workers of a RunError alone; they would wait for ever."""

    def refuse(folder: Path, content: Content) -> None:
        raise InputError("permission denied")

    monkeypatch.setattr(background, "write_checkpoint", refuse)
    run = writer(tmp_path / "run")
    run.write(lambda: content(1))
    with pytest.raises(RunError, match="epoch-0001 could not be written: permission denied"):
        run.wait()


def test_a_run_that_was_taken_over_is_left_alone(tmp_path: Path, content: MakeContent) -> None:
    first = writer(tmp_path / "run")
    first.write(lambda: content(1))
    first.wait()

    def refuse() -> None:
        raise RunError("taken over")

    second = writer(tmp_path / "run", allow=refuse)
    second.write(lambda: content(0.5))
    with pytest.raises(RunError, match="taken over"):
        second.wait()
    [kept] = checkpoints_in(tmp_path / "run")
    assert kept.progress.score == 1
