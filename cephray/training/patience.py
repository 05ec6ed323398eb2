"""A limit on waiting: a run ends if its lost workers cannot be started again.

Ray Train asks for room without an end. This callback sits in its controller, and knows the
controller's states, but nothing of what is trained.
"""

from __future__ import annotations

import time
from typing import Any

from cephray.cluster import WAITING_STATES, ControllerCallback
from cephray.errors import RunError

_POLL_S = 0.2


class Patience(ControllerCallback):
    """Fails a run whose workers do not run for too long.

    Args:
        wait_s: how long to wait for room, seconds.
        asked: what is waited for, as the message names it.
    """

    def __init__(self, wait_s: float, asked: str) -> None:
        self._wait_s = wait_s
        self._asked = asked
        self._waits_since: float | None = None

    def after_controller_state_update(self, previous_state: Any, current_state: Any) -> None:
        """Take each state of the controller, again and again while it waits.

        Raises:
            RunError: it has waited for too long.
        """
        now = time.monotonic()
        waits = isinstance(current_state, WAITING_STATES)
        if not waits or self._waits_since is None:
            self._waits_since = now if waits else None
        elif now - self._waits_since > self._wait_s:
            self._waits_since = None
            raise RunError(
                f"{self._asked} could not be started within {self._wait_s:g} s "
                "(train.wait_for_resources_s): add nodes, or use fewer workers"
            )
        if waits:
            time.sleep(_POLL_S)  # Ray asks again at once
