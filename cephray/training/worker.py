"""The worker process of Ray Train: it runs the training loop and reports to the driver.

Rank 0 sends its rows, notices and failures to one queue, and reads requests to stop from another.
Its checkpoints go through Ray into the output folder.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import ray.train
from ray.util.queue import Queue

from cephray.checkpoint import Checkpoint, Progress, Row, checkpoints_in, last_intact
from cephray.errors import InputError, RunError
from cephray.storage import Place, remove_folder
from cephray.training.ownership import require_ownership
from cephray.training.supervise import POLL_S

# Set on every worker: the backend that the op is written for, no log but errors, and two heaps of
# the C library: with one for each thread, memory grows for hundreds of epochs, as each step's
# tensors come to lie in other heaps.
ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "GLOG_minloglevel": "2",
    "MALLOC_ARENA_MAX": "2",
}


class Notice(NamedTuple):
    """A line for the user that is not an error."""

    line: str


class _RayContext:
    """Ray Train's answers to what the loop asks."""

    def __init__(
        self, output: Place, owner: str, messages: Queue, stopping: Queue, threads: int
    ) -> None:
        context = ray.train.get_context()
        self.rank = context.get_world_rank()
        self.world_size = context.get_world_size()
        self.threads = threads
        self._output = output
        self._owner = owner
        self._messages = messages
        self._stopping = stopping
        self._stop = threading.Event()
        if self.rank == 0:
            threading.Thread(target=self._watch, name="cephray-stop", daemon=True).start()

    def _watch(self) -> None:
        while self._stopping.empty():
            time.sleep(POLL_S)
        self._stop.set()

    def show(self, line: str) -> None:
        """Send a line to the driver; of all workers, that of rank 0 alone."""
        if self.rank == 0:
            self._messages.put(Notice(line))

    def should_stop(self) -> bool:
        """Return whether the driver asked this worker to stop; it asks the first one only."""
        return self._stop.is_set()

    def report(self, row: Row, save: Callable[[Path], None]) -> None:
        """Report a row; rank 0 saves a checkpoint, which Ray moves into the output folder."""
        if self.rank == 0:
            self._messages.put(row)
        self._report(f"epoch-{int(row['epoch']):04d}", row, save)

    def pause(self, progress: Progress, save: Callable[[Path], None]) -> None:
        """Save within an epoch, without a score, so that the checkpoint is never the best."""
        self._report(
            f"epoch-{progress.epoch + 1:04d}-step-{progress.step:05d}",
            {"epoch": progress.epoch, "step": progress.step},
            save,
        )
        if self.rank == 0:
            self._messages.put(progress)

    def _report(self, name: str, row: Row, save: Callable[[Path], None]) -> None:
        if self.rank != 0:
            ray.train.report(row, checkpoint_dir_name=name)
            return
        checkpoint, failure = None, None
        with ExitStack() as stack:
            try:
                require_ownership(self._output, self._owner)
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cephray-"))
                save(Path(folder))
                checkpoint = ray.train.Checkpoint.from_directory(folder)
            except (OSError, InputError, RunError) as error:
                failure = error
            try:
                # Without a checkpoint too: the other workers wait for this report.
                ray.train.report(row, checkpoint=checkpoint, checkpoint_dir_name=name)
            except OSError as error:
                failure = error
                remove_folder(self._output / name)
        if isinstance(failure, OSError):
            raise RunError(
                f"checkpoint {self._output / name} could not be written: {failure}; make room; "
                f"{last_intact(self._output)}"
            ) from failure
        if failure is not None:
            raise failure

    def last_checkpoint(self) -> Checkpoint | None:
        """Open the last complete checkpoint; Ray's own last one may be cut short."""
        complete = checkpoints_in(self._output)
        return complete[-1] if complete else None


def run(settings: dict[str, Any]) -> None:
    """Run the loop in a worker process; a failure that has a clear line is sent, not raised."""
    import tensorflow as tf

    from cephray.training.loop import train

    tf.config.threading.set_intra_op_parallelism_threads(settings["cpus"])
    tf.config.threading.set_inter_op_parallelism_threads(settings["cpus"])
    context = _RayContext(
        settings["output"],
        settings["owner"],
        settings["messages"],
        settings["stopping"],
        settings["cpus"],
    )
    try:
        train(settings["config"], settings["films"], context)
    except (InputError, RunError) as error:
        if context.rank == 0:
            settings["messages"].put(str(error))
