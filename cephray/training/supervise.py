"""The driver's supervision of a run: messages of workers, signals, and an end in bounded time.

It knows queues and threads, and nothing of Ray Train or of what is trained.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ray.util.queue import Empty, Queue

from cephray.cluster import BackgroundWork, StopRequest

# A run that is asked to stop ends its step and saves within this, or is ended.
STOP_WITHIN_S = 60.0
POLL_S, LOOK_S = 0.5, 2.0


def supervise(
    fit: Callable[[], Any],
    messages: Queue,
    stopping: Queue,
    stop: StopRequest,
    take: Callable[[Any], None],
    show: Callable[[str], None],
    look: Callable[[], None] = lambda: None,
) -> None:
    """Run the workers to their end; pass on what they say, and the wish to stop.

    Args:
        fit: runs the workers, in a thread of its own, so that signals come here.
        messages: what workers send.
        stopping: holds something once the workers are to stop.
        stop: what signals ask for.
        take: called with each message.
        show: takes the line that says what is waited for.
        look: called every few seconds.

    Raises:
        Stopped: a second signal came, or the workers did not stop in time.
        BaseException: whatever `fit` raised.
    """
    workers = BackgroundWork(fit, "cephray-fit")
    workers.start()
    stop.can_wait = True
    deadline, looked_s = float("inf"), time.monotonic()
    while True:
        running = workers.is_alive()
        try:
            take(messages.get(timeout=POLL_S))
        except Empty:
            if not running:
                break
        if running and time.monotonic() - looked_s > LOOK_S:
            looked_s = time.monotonic()
            look()
        if stop.signal is not None and deadline == float("inf"):
            deadline = time.monotonic() + STOP_WITHIN_S
            stopping.put(True)
            show(f"{stop.signal.name}: saving after the step under way; a second one ends at once")
        if time.monotonic() > deadline:
            raise stop.stopped(f"while the workers did not end their step in {STOP_WITHIN_S:g} s")
    workers.raise_error()
