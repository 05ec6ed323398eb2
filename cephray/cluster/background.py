"""Work in a background thread, so that signals reach the main thread while it waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class BackgroundWork(threading.Thread):
    """A daemon thread that keeps the error of its work.

    Args:
        work: Called without arguments; its result is dropped.
        name: Of the thread.
    """

    def __init__(self, work: Callable[[], Any], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._error: BaseException | None = None

    def run(self) -> None:
        """Do the work."""
        try:
            self._work()
        except BaseException as error:  # raised again by whoever waits
            self._error = error

    def raise_error(self) -> None:
        """Raise the error of the work, if it had one."""
        if self._error is not None:
            raise self._error
