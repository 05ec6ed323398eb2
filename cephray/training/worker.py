"""The worker process of Ray Train: it runs the training loop and reports to the driver.

Rank 0 sends its rows, notices and failures to one queue, and reads requests to stop from another.
It writes the checkpoints into the output folder, which every node must reach.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import ray
import ray.train
from ray.util.queue import Queue

from cephray.checkpoint import (
    Checkpoint,
    CheckpointWriter,
    Content,
    Progress,
    Row,
    checkpoints_in,
    intact_checkpoint,
)
from cephray.cluster import announced_preemptions
from cephray.errors import InputError, RunError
from cephray.storage import Place
from cephray.training.gauges import Gauges
from cephray.training.ownership import require_ownership
from cephray.training.stall import Heartbeat
from cephray.training.supervise import POLL_S
from cephray.training.xla import set_xla_flags, wants_xla
from cephray.training.xla_cache import keep_compiled_steps


class Notice(NamedTuple):
    """A line for the user that is not an error."""

    line: str


class _RayContext:
    """Ray Train's answers to what the loop asks."""

    def __init__(
        self,
        output: Place,
        owner: str,
        messages: Queue,
        stopping: Queue,
        watch: Any,
        threads: int,
        num_best: int,
    ) -> None:
        context = ray.train.get_context()
        self.rank = context.get_world_rank()
        self.world_size = context.get_world_size()
        self.threads = threads
        self._output = output
        complete = checkpoints_in(output)
        self._last = complete[-1] if complete else None
        self._writer = CheckpointWriter(
            output, complete, num_best, partial(require_ownership, output, owner)
        )
        self._messages = messages
        self._stopping = stopping
        self._stop = threading.Event()
        self.must_save = False
        self._gauges = Gauges(output.name)
        self._heartbeat = Heartbeat(watch, self.rank) if self.world_size > 1 else None
        if self.rank == 0:
            threading.Thread(target=self._watch, name="cephray-stop", daemon=True).start()

    def _watch(self) -> None:
        while self._stopping.empty():
            going = announced_preemptions()
            if going and not self.must_save:
                self.must_save = True
                self.show(
                    f"{_named(going)} about to be taken away: checkpoints are saved between steps"
                )
            time.sleep(POLL_S)
        self._stop.set()

    def show(self, line: str) -> None:
        """Send a line to the driver; of all workers, that of rank 0 alone."""
        if self.rank == 0:
            self._messages.put(Notice(line))

    def should_stop(self) -> bool:
        """Return whether to stop: the driver asks the first worker, or a checkpoint failed."""
        return self._stop.is_set() or self._writer.has_failed

    def advance(self) -> None:
        """Note that this worker came further."""
        if self._heartbeat is not None:
            self._heartbeat.advance()

    def report(self, row: Row) -> None:
        """Send a row to the driver, and set the cluster's metrics."""
        if self.rank == 0:
            self._gauges.set(row)
            self._messages.put(row)

    @property
    def can_save(self) -> bool:
        """Whether this worker saves checkpoints, and does not write one just now."""
        return self.rank == 0 and not self._writer.is_busy and not self._writer.has_failed

    def save(self, content: Callable[[], Content]) -> None:
        """Begin to write a checkpoint into the output folder."""
        if self.rank == 0:
            self._writer.write(content)

    def pause(self, progress: Progress) -> None:
        """Tell the driver where the run stopped within an epoch."""
        if self.rank == 0:
            self._messages.put(progress)

    def finish(self) -> None:
        """Wait until the last checkpoint is complete."""
        if self._heartbeat is not None:
            self._heartbeat.rest()
        self._writer.wait()

    def intact(self) -> str:
        """Return which checkpoint is intact, after the last one was written."""
        with suppress(RunError):
            self._writer.wait()
        return intact_checkpoint(self._output)

    def last_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint to resume from."""
        return self._last


def _named(ids: Sequence[str]) -> str:
    """Name nodes by their addresses."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    names = [node["NodeManagerAddress"] for node in nodes if node["NodeID"] in ids]
    return f"node{'s' if len(names) > 1 else ''} {', '.join(names)} {'are' if names[1:] else 'is'}"


def run(settings: dict[str, Any]) -> None:
    """Run the loop in a worker process; a failure that has a clear line is sent, not raised."""
    config, films = settings["config"], settings["films"]
    if wants_xla(config, len(films.training), config.train.use_gpu):
        set_xla_flags(config.train.deterministic)
        keep_compiled_steps(config.train.deterministic)
    import tensorflow as tf

    from cephray.training.loop import train

    tf.config.threading.set_intra_op_parallelism_threads(settings["cpus"])
    tf.config.threading.set_inter_op_parallelism_threads(settings["cpus"])
    context = _RayContext(
        settings["output"],
        settings["owner"],
        settings["messages"],
        settings["stopping"],
        settings["watch"],
        settings["cpus"],
        settings["num_best"],
    )
    if config.train.min_workers is not None:
        context.show(
            f"training with {context.world_size} of {config.train.num_workers} workers "
            "(train.min_workers)"
        )
    try:
        train(config, films, context)
    except (InputError, RunError) as error:
        if context.rank == 0:
            settings["messages"].put(str(error))
