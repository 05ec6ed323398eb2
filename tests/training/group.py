"""Processes that train together through `tf.distribute`, without Ray, for many cases in turn.

Starting TensorFlow takes longer than training a small case, so the processes are kept.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from cephray.checkpoint import Checkpoint, Content, Progress, Row
from cephray.config import Config
from cephray.data import Films, FilmTable
from tests.devices import hide_gpus
from tests.tiny import use_tiny_backbones

CASE_S = 300  # the longest that one case may take


@dataclass
class End:
    """What a worker has at the end of an epoch."""

    row: Row
    arrays: dict[str, NDArray[Any]]  # weights and optimiser variables by path


class OneEpoch:
    """A context of the training loop that keeps the end of the epoch in memory."""

    threads = 1
    can_save = must_save = False

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank, self.world_size = rank, world_size
        self.end: End | None = None

    def report(self, row: Row) -> None:
        self._row = row

    def save(self, content: Callable[[], Content]) -> None:
        made = content()
        self.end = End(self._row, {**made.weights, **(made.optimizer or {})})

    def finish(self) -> None:
        """Nothing is written."""

    def intact(self) -> str:
        raise AssertionError("the loss of these runs is finite")

    def pause(self, progress: Progress) -> None:
        raise AssertionError("nobody asked this run to stop")

    def show(self, line: str) -> None:
        """Lines about compilation; none of these runs is compiled."""

    def advance(self) -> None:
        """Nobody watches these runs."""

    def should_stop(self) -> bool:
        return False

    def last_checkpoint(self) -> Checkpoint | None:
        return None


def train_epoch(config: Config, table: FilmTable, rank: int = 0, world_size: int = 1) -> End:
    """Train for one epoch in this process."""
    from cephray.training.loop import train

    keras.backend.clear_session()  # the names of layers begin anew
    context = OneEpoch(rank, world_size)
    train(config, Films(table, None), context)
    assert context.end is not None
    return context.end


class Group:
    """Processes that are the workers of one run after the other.

    Args:
        count: number of processes.
        tiny: give their networks the tiny backbone.
    """

    def __init__(self, count: int, tiny: bool) -> None:
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        workers = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
        for listener in listeners:
            listener.close()
        spawn = multiprocessing.get_context("spawn")
        self._pools = [
            ProcessPoolExecutor(
                1, mp_context=spawn, initializer=_begin, initargs=(workers, rank, tiny)
            )
            for rank in range(count)
        ]

    def train(self, config: Config, table: FilmTable) -> Callable[[], list[End]]:
        """Begin to train; return the function that waits for the ends of all workers."""
        running = [
            pool.submit(train_epoch, config, table, rank, len(self._pools))
            for rank, pool in enumerate(self._pools)
        ]

        def result() -> list[End]:
            # A worker that fails leaves the others waiting for it for ever.
            done, _ = wait(running, CASE_S, FIRST_EXCEPTION)
            for future in done:
                future.result()
            assert len(done) == len(running), f"no end within {CASE_S} s"
            return [future.result() for future in running]

        return result

    def close(self) -> None:
        """End all processes, also where they wait for each other."""
        for pool in self._pools:
            for process in list(pool._processes.values()):
                process.kill()
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(workers: list[str], rank: int, tiny: bool) -> None:
    """Prepare a process of the group."""
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}}
    )
    import tensorflow as tf

    hide_gpus()  # workers cannot share one
    # A second strategy in one process would number its messages from the start again, and the
    # group would wait for ever.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    tf.distribute.MultiWorkerMirroredStrategy = lambda communication_options: strategy
    if tiny:
        use_tiny_backbones()


def differences(one: End, other: End) -> dict[str, float]:
    """Return each array's largest difference; of arrays beyond 1, as a fraction of their size."""
    assert one.arrays.keys() == other.arrays.keys()
    return {
        name: float(np.abs(array - other.arrays[name]).max(initial=0))
        / max(1.0, float(np.abs(array).max(initial=0)))
        for name, array in one.arrays.items()
    }
