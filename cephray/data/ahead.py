"""Threads that work ahead of a consumer, and the time that it still waits for them.

It knows threads and time, and nothing of films.
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
    """Call functions on threads of their own, and yield what they return in their order.

    Args:
        tasks: the functions; what one raises comes out in its place.
        threads: that call them.
        depth: results that may wait for the consumer, beside those that the threads work on.
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
    """Draw items in another thread, up to `depth` ahead. An error is raised in its item's place.

    The thread ends when the iterator is used up, closed or dropped.
    """
    end: Any = object()
    for item in work_ahead(itertools.repeat(partial(next, items, end)), depth=depth):
        if item is end:
            return
        yield item


class Waiting(Generic[Item]):
    """Passes items on and adds up the seconds that the consumer waited for them.

    Args:
        items: what is passed on.
    """

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Item]:
        """Return itself; it can be gone through once."""
        return self

    def __next__(self) -> Item:
        """Return the next item."""
        begin = time.perf_counter()
        try:
            return next(self._items)
        finally:
            self.seconds += time.perf_counter() - begin
