"""When a run saves checkpoints: after some epochs, or after some minutes.

It knows the clock, and no files.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Schedule:
    """Says when a checkpoint is due.

    Args:
        every: number of epochs, or minutes such as "10min".
        clock: returns the time in seconds.
    """

    def __init__(self, every: int | str, clock: Callable[[], float] = time.monotonic) -> None:
        self._epochs = every if isinstance(every, int) else None
        self._seconds = None if isinstance(every, int) else 60 * float(every.removesuffix("min"))
        self._clock = clock
        self._saved_s = clock()

    def saved(self) -> None:
        """Note that a checkpoint is saved now."""
        self._saved_s = self._clock()

    def is_due_within_epoch(self) -> bool:
        """Return whether a checkpoint is due between two steps of an epoch."""
        return self._seconds is not None and self._clock() - self._saved_s >= self._seconds

    def is_due_after(self, epoch: int) -> bool:
        """Return whether a checkpoint is due after this epoch, counted from 1."""
        if self._epochs is None:
            return self.is_due_within_epoch()
        return epoch % self._epochs == 0
