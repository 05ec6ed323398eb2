"""A group of two workers, in processes of their own, that exchange through slow links."""

from __future__ import annotations

import pytest

from cephray.benchmark.scaling import group as group_module
from cephray.benchmark.scaling.group import measure_group
from cephray.benchmark.scaling.model import Link, Message, StepProfile
from cephray.errors import RunError

LINK = Link(latency_s=0.01, bytes_per_s=20e6)


def test_two_workers_wait_for_their_links() -> None:
    bucket = Message(1.0, 2_000_000)
    bare, with_statistics = (
        StepProfile(0.05, 0.1, statistics, (bucket,))
        for statistics in ((), (Message(0.5, 400), Message(0.9, 400)))
    )
    times = measure_group(2, LINK, (1000, 2_000_000), (bare, with_statistics))
    short_s, long_s = map(min, times.messages_s)
    # Two turns in each sum; in each of them half of the bytes go either way.
    assert 2 * LINK.latency_s < short_s < 0.1
    assert 2 * LINK.latency_s + 0.98 * 2_000_000 / LINK.bytes_per_s < long_s < 0.5
    bare_s, with_statistics_s = map(min, times.steps_s)
    assert 0.15 + 0.98 * 2_000_000 / LINK.bytes_per_s < bare_s < 0.6
    assert with_statistics_s > bare_s + 3 * 2 * LINK.latency_s  # of four sums


def test_a_group_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_module, "GROUP_S", 0.5)
    with pytest.raises(RunError, match=r"^2 workers did not end within 0.5 s$"):
        measure_group(2, LINK, (), ())
