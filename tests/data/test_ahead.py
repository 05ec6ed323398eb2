"""Tests working ahead: order, errors, depth, and the end of threads with their consumer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from cephray.data.ahead import Waiting, prefetch, work_ahead


def after(seconds: float, value: int) -> int:
    time.sleep(seconds)
    return value


@pytest.mark.parametrize("threads", [1, 3, 50])
def test_results_are_in_the_order_of_the_tasks(threads: int) -> None:
    tasks = [partial(after, 0.02 if number % 3 == 0 else 0.0, number) for number in range(20)]
    assert list(work_ahead(tasks, threads)) == list(range(20))


def test_threads_run_concurrently() -> None:
    together = threading.Barrier(3, timeout=20)
    assert len(list(work_ahead([together.wait] * 6, threads=3))) == 6


def test_an_error_is_raised_in_place_of_its_result() -> None:
    def fail() -> int:
        raise OSError("disk")

    tasks: list[Callable[[], int]] = [partial(after, 0.0, 0), partial(after, 0.02, 1), fail]
    drawn: list[int] = []
    with pytest.raises(OSError, match="disk"):
        drawn.extend(work_ahead([*tasks, partial(after, 0.0, 3)], threads=2))
    assert drawn == [0, 1]


def test_tasks_respect_the_depth_and_end_with_the_consumer() -> None:
    begun: list[int] = []

    def tasks() -> Iterator[Callable[[], None]]:
        for number in range(1000):
            yield partial(begun.append, number)

    ahead = work_ahead(tasks(), threads=2, depth=3)
    next(ahead)
    time.sleep(0.3)
    assert len(begun) == 6
    ahead.close()  # type: ignore[attr-defined]
    time.sleep(0.3)
    assert len(begun) == 6
    assert not [t for t in threading.enumerate() if t.name.startswith("cephray-ahead")]


def test_waiting_measures_the_time_of_the_consumer() -> None:
    waiting = Waiting(work_ahead([partial(after, 0.2, 1), partial(after, 0.0, 2)]))
    assert list(waiting) == [1, 2]
    assert 0.15 < waiting.seconds < 5


def test_prefetch_keeps_the_order_and_raises_errors() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise OSError("disk")

    drawn: list[int] = []
    with pytest.raises(OSError, match="disk"):
        drawn.extend(prefetch(items()))
    assert drawn == [0, 1, 2, 3, 4]
    assert list(prefetch(iter(range(5)))) == [0, 1, 2, 3, 4]


def test_prefetch_works_ahead_and_stops_when_dropped() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            drawn.append(number)
            yield number

    before = set(threading.enumerate())
    ahead = prefetch(items(), depth=2)
    assert next(ahead) == 0
    [thread] = set(threading.enumerate()) - before
    time.sleep(0.3)
    assert 3 <= len(drawn) <= 5
    ahead.close()  # type: ignore[attr-defined]
    time.sleep(0.3)
    assert len(drawn) <= 5
    thread.join(timeout=5)
    assert not thread.is_alive()
