"""Threads that prepare items ahead of a consumer, and the time that it still waits for them.

It knows threads and time, but no films.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


def work_ahead(
    tasks: Iterable[Callable[[], Item]], threads: int = 1, depth: int = 2
) -> Iterator[Item]:
    """Call functions in other threads, and yield their results in the order of the functions.

    Args:
        tasks: functions without arguments. An error of a function is raised in place of its
            result.
        threads: number of threads.
        depth: number of finished results that may wait for the consumer.

    Yields:
        The results.
    """
    pending: deque[Future[Item]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="cephray-ahead")
    try:
        for task in tasks:
            pending.append(pool.submit(task))
            if len(pending) > threads + depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def prefetch(items: Iterator[Item], depth: int = 2) -> Iterator[Item]:
    """Draw items of an iterator in another thread, ahead of the consumer.

    An error is raised in place of its item. The thread ends when the iterator is exhausted,
    closed or garbage-collected.

    Args:
        items: iterator to draw from.
        depth: number of items that may wait for the consumer.

    Yields:
        The items.
    """
    end: Any = object()
    for item in work_ahead(itertools.repeat(partial(next, items, end)), depth=depth):
        if item is end:
            return
        yield item


class Waiting(Generic[Item]):
    """An iterator that measures how long its consumer waits.

    `seconds` is the total time that the consumer has waited for items.

    Args:
        items: iterator whose items are passed on.
    """

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Item]:
        """Return the iterator itself."""
        return self

    def __next__(self) -> Item:
        """Return the next item."""
        begin = time.perf_counter()
        try:
            return next(self._items)
        finally:
            self.seconds += time.perf_counter() - begin
