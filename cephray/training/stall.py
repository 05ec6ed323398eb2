"""A watch over the workers of a run: it notices and names those that hold up the others.

A sum over workers waits for all of them, and has no limit of its own. Each worker therefore tells
an actor on the driver's node how far it has come. If none comes further for too long, the actor
names those that are silent or behind and has the workers end themselves. Ray starts all of them
again from the last checkpoint. It knows nothing of what is trained.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray

BEAT_S = 2.0
_SILENT_S = 15.0  # a worker that told nothing for so long is stopped, or cut off


@dataclass
class _Seen:
    """What a worker told last, and when."""

    rank: int
    node: str
    count: int
    at_s: float


class Watch:
    """What the workers told. It runs in an actor, and in tests without one.

    Args:
        limit_s: how long all workers may stay where they are, seconds.
        clock: returns the time in seconds.
    """

    def __init__(self, limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._workers: dict[str, _Seen] = {}
        self._over: set[str] = set()
        self._moved_s = clock()

    def tell(self, process: str, rank: int, node: str, count: int | None) -> bool:
        """Take what a worker tells.

        Args:
            process: name of the process, different for each that ever was a worker.
            rank: of the worker.
            node: address of its node.
            count: how far it has come: a number that grows. None if it needs no watch any more.

        Returns:
            Whether the worker must end itself.
        """
        if process in self._over:
            return True
        now = self._clock()
        if any(one.rank == rank for name, one in self._workers.items() if name != process):
            self._end_all()  # the workers were started again
        before = self._workers.pop(process, None)
        if count is None:
            self._over.add(process)
        else:
            self._workers[process] = _Seen(rank, node, count, now)
        if before is None or before.count != count:
            self._moved_s = now
        return False

    def held_up_by(self) -> str | None:
        """Return which workers hold up the others, once for each time, or None if none does."""
        now = self._clock()
        if not self._workers or now - self._moved_s <= self._limit_s:
            return None
        seen = sorted(self._workers.values(), key=lambda one: one.rank)
        least = min(one.count for one in seen)
        late = [one for one in seen if now - one.at_s > _SILENT_S]
        late = late or [one for one in seen if one.count == least]
        self._end_all()
        names = " and ".join(f"{one.rank} on node {one.node}" for one in late)
        return f"worker{'s' if len(late) > 1 else ''} {names}"

    def _end_all(self) -> None:
        self._over.update(self._workers)
        self._workers.clear()
        self._moved_s = self._clock()


class Heartbeat:
    """A worker's thread that tells the watch how far the worker has come.

    Args:
        watch: actor of a `Watch`.
        rank: of the worker.
    """

    def __init__(self, watch: Any, rank: int) -> None:
        self._watch = watch
        self._rank = rank
        self._process = uuid.uuid4().hex
        self._node: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        self._count = 0
        self._rests = threading.Event()
        threading.Thread(target=self._tell_again, name="cephray-heartbeat", daemon=True).start()

    def advance(self) -> None:
        """Note that the worker has come further."""
        self._count += 1

    def rest(self) -> None:
        """End the watch over this worker: it waits for no other from now on."""
        self._rests.set()
        self._tell(None)

    def _tell_again(self) -> None:
        while not self._rests.wait(BEAT_S):
            if self._tell(self._count) and not self._rests.is_set():
                os._exit(1)  # the main thread waits in TensorFlow, where no error reaches it

    def _tell(self, count: int | None) -> bool:
        try:
            told = self._watch.tell.remote(self._process, self._rank, self._node, count)
            return bool(ray.get(told, timeout=_SILENT_S))
        except ray.exceptions.RayError:
            return False  # the driver is gone, and Ray ends this worker
