"""The watch over workers: who holds up the others is named, and all start again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from cephray.checkpoint import checkpoints_in
from cephray.config import Config
from cephray.training.stall import Watch
from tests.conftest import SMALL
from tests.training.processes import ray_processes, training, wait_until


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Watch:
    return Watch(100, clock)


def beat(watch: Watch, clock: Clock, seconds: int, *counts: int | None, group: str = "a") -> bool:
    """Let workers tell their counts every second, None: nothing; return whether one must end."""
    ends = False
    for _ in range(seconds):
        clock.now += 1
        for rank, count in enumerate(counts):
            if count is not None:
                ends |= watch.tell(f"{group}{rank}", rank, f"10.0.0.{rank}", count)
    return ends


def test_workers_that_come_further_are_left_alone(watch: Watch, clock: Clock) -> None:
    for step in range(10):
        assert not beat(watch, clock, 60, step, step, step + 1)
        assert watch.held_up_by() is None


def test_the_one_behind_is_named_and_all_end(watch: Watch, clock: Clock) -> None:
    beat(watch, clock, 100, 7, 5, 7)
    assert watch.held_up_by() is None
    beat(watch, clock, 2, 7, 5, 7)
    assert watch.held_up_by() == "worker 1 on node 10.0.0.1"
    assert watch.held_up_by() is None  # it is said once
    for rank in range(3):
        assert watch.tell(f"a{rank}", rank, "", 8)


def test_the_silent_ones_are_named(watch: Watch, clock: Clock) -> None:
    beat(watch, clock, 10, 3, 3, 3)
    beat(watch, clock, 102, 4, None, None)
    assert watch.held_up_by() == "workers 1 on node 10.0.0.1 and 2 on node 10.0.0.2"


def test_all_at_one_place(watch: Watch, clock: Clock) -> None:
    beat(watch, clock, 102, 3, 3)
    assert watch.held_up_by() == "workers 0 on node 10.0.0.0 and 1 on node 10.0.0.1"


def test_workers_that_were_started_again(watch: Watch, clock: Clock) -> None:
    beat(watch, clock, 90, 7, 5, 7)
    assert not beat(watch, clock, 90, 0, 0, group="b")
    assert watch.held_up_by() is None
    assert watch.tell("a2", 2, "", 7)  # one of before that lives on
    beat(watch, clock, 20, 0, 0, group="b")
    assert watch.held_up_by() == "workers 0 on node 10.0.0.0 and 1 on node 10.0.0.1"


def test_workers_that_rest_hold_up_none(watch: Watch, clock: Clock) -> None:
    beat(watch, clock, 5, 3, 3)
    for rank in range(2):
        assert not watch.tell(f"a{rank}", rank, "", None)
    clock.now += 1000
    assert watch.held_up_by() is None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_that_hangs_is_named_and_replaced(
    films: Path, tmp_path: Path, small_config: Callable[..., Config]
) -> None:
    """It is stopped as a debugger would do it: nothing ends, and nothing goes on."""
    output = tmp_path / "run"
    overrides = (
        *SMALL,
        "data.training=all",
        "train.num_workers=2",
        "train.cpus_per_worker=1",
        "train.epochs=30",
        "train.stall_timeout_s=20",
    )
    with training(films, output, overrides) as command:
        wait_until(lambda: len(checkpoints_in(output)) > 0, "checkpoint")
        hung = ray_processes(command.pid)[-1]
        os.kill(hung, signal.SIGSTOP)
        out, err = command.communicate(timeout=400)
    assert command.returncode == 0, err
    [said] = [line for line in out.splitlines() if "came no further" in line]
    assert "worker " in said
    assert "train.stall_timeout_s" in said
    assert [row["epoch"] for row in checkpoints_in(output)[-1].progress.history] == list(
        range(1, 31)
    )
