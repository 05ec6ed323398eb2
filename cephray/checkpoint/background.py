"""Writing of a run's checkpoints in the background, and deletion of those that are not needed.

It knows folders and threads, and no Ray and no TensorFlow.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from cephray.checkpoint.store import MANIFEST, Checkpoint, Progress, last_intact
from cephray.checkpoint.writing import Content, write_checkpoint
from cephray.errors import InputError, RunError
from cephray.storage import Place, remove_folder

_OUR_NAMES = re.compile(r"epoch-\d{4,}(-step-\d{5,})?")


def checkpoint_name(progress: Progress) -> str:
    """Return the name of a checkpoint's folder."""
    if progress.step:
        return f"epoch-{progress.epoch + 1:04d}-step-{progress.step:05d}"
    return f"epoch-{progress.epoch:04d}"


class CheckpointWriter:
    """Writes the checkpoints of a run in a thread, one at a time.

    A checkpoint is complete once its manifest is written. Then the checkpoints that are neither
    the last nor among the best are deleted. If the process ends while one is written, the one
    before it is intact.

    Args:
        run: output folder of the run.
        complete: the checkpoints that are there, the oldest first.
        num_best: number of checkpoints with the lowest scores to keep, besides the last one.
        allow: called in the thread before the folder is changed; raises RunError if it must not
            be.
    """

    def __init__(
        self,
        run: Place,
        complete: Sequence[Checkpoint],
        num_best: int,
        allow: Callable[[], None],
    ) -> None:
        self._run = run
        self._complete = {one.folder.name: one.progress.score for one in complete}
        self._num_best = num_best
        self._allow = allow
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cephray-checkpoint")
        self._last: Future[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._last is not None and not self._last.done()

    @property
    def has_failed(self) -> bool:
        """Whether the last checkpoint could not be written."""
        return self._last is not None and self._last.done() and self._last.exception() is not None

    def write(self, content: Callable[[], Content]) -> None:
        """Begin to write a checkpoint, after the one before.

        Args:
            content: returns what to write; called once the one before is complete, so that
                memory holds one of them at a time.

        Raises:
            RunError: the one before could not be written.
        """
        self.wait()
        self._last = self._thread.submit(self._write, content())

    def wait(self) -> None:
        """Wait until the last checkpoint is complete.

        Raises:
            RunError: it could not be written.
        """
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def _write(self, content: Content) -> None:
        name = checkpoint_name(content.progress)
        folder = self._run / name
        self._allow()
        try:
            remove_folder(folder)  # what was not complete
            if isinstance(folder, Path):
                write_checkpoint(folder, content)
            else:
                with tempfile.TemporaryDirectory(prefix="cephray-") as staging:
                    write_checkpoint(Path(staging), content)
                    folder.upload(Path(staging))
        except (OSError, InputError) as error:  # a store may refuse
            remove_folder(folder)
            raise RunError(
                f"checkpoint {folder} could not be written: {error}; make room; "
                f"{last_intact(self._run)}"
            ) from error
        self._complete.pop(name, None)
        self._complete[name] = content.progress.score
        self._delete_others()

    def _delete_others(self) -> None:
        """Delete what is not needed: older checkpoints, and what a killed worker left."""
        by_score = sorted(self._complete, key=lambda name: self._complete[name])
        needed = {*by_score[: self._num_best], list(self._complete)[-1]}
        names = [path.name for path in self._run.iterdir()]
        for name in names:
            folder = self._run / name
            if name in needed or not _OUR_NAMES.fullmatch(name):
                continue
            if name in self._complete or not (folder / MANIFEST).is_file():
                remove_folder(folder)
                self._complete.pop(name, None)
