"""When checkpoints are saved: by epochs, or by minutes."""

from __future__ import annotations

import pytest

from cephray.config import load_config
from cephray.errors import InputError
from cephray.training.schedule import Schedule


def test_every_third_epoch() -> None:
    schedule = Schedule(3, clock=lambda: 0.0)
    assert [epoch for epoch in range(1, 8) if schedule.is_due_after(epoch)] == [3, 6]
    assert not schedule.is_due_within_epoch()


def test_every_two_and_a_half_minutes() -> None:
    now = 1000.0
    schedule = Schedule("2.5min", clock=lambda: now)
    assert not schedule.is_due_within_epoch()
    now += 149
    assert not schedule.is_due_after(1)
    now += 1
    assert schedule.is_due_within_epoch()
    assert schedule.is_due_after(1)
    schedule.saved()
    assert not schedule.is_due_within_epoch()


@pytest.mark.parametrize("every", ["0", "-1", "10 min", "min", "1h", "0min", "0.0min", "inf"])
def test_what_is_no_time(every: str) -> None:
    with pytest.raises(InputError, match=r"train\.checkpoint_every"):
        load_config(overrides=[f"train.checkpoint_every={every}"])
