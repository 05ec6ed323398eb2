"""SIGTERM and Ctrl-C while a run lasts: the first asks it to stop, the second ends it.

It knows signals, and nothing of what is stopped.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cephray.errors import Stopped

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """The request to stop that signals made.

    As long as `can_wait` is set, the first signal is only noted, in `signal`; any other raises
    `Stopped` where the main thread is.
    """

    def __init__(self) -> None:
        self.can_wait = False
        self.signal: signal.Signals | None = None

    def receive(self, number: int, frame: FrameType | None = None) -> None:
        """Take a signal; the handler."""
        first = self.signal is None
        self.signal = signal.Signals(number)
        if not (first and self.can_wait):
            raise self.stopped("at once")

    def stopped(self, state: str) -> Stopped:
        """Make the error that ends the command.

        Args:
            state: what was saved, and how to go on.
        """
        number = self.signal or signal.SIGTERM
        return Stopped(number, f"stopped by {number.name} {state}")


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Listen to the signals; outside the main thread, where Python allows no handler, to none."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.receive) for number in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
