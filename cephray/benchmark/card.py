"""How busy the graphics card is, read beside the work that is timed.

It knows nothing of what runs on the card.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType

import numpy as np

from cephray.cluster import ask_cards

_PERIOD_S = 0.2
# The driver's value is the share of its last period, which is a second at most.
_DRIVER_PERIOD_S = 1.0


class CardBusy:
    """Reads in a thread how busy the first visible card is, while it is entered.

    Args:
        read: returns the share of time in which the card computed, percent, or None if it
            cannot be told; then the thread ends.

    Example:
        >>> with CardBusy() as card:
        ...     begin, _, end = time.time(), work(), time.time()
        >>> card.percent(begin, end)
        97.0
    """

    def __init__(self, read: Callable[[], float | None] | None = None) -> None:
        self._read = read or busy_percent
        self._samples: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> CardBusy:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def percent(self, began_s: float, ended_s: float) -> float | None:
        """Return the mean share of time in which the card computed.

        Args:
            began_s: begin of the work, of `time.time()`, in this process or another.
            ended_s: its end.

        Returns:
            Percent, or None if no value was read that is of this work alone.
        """
        values = [
            value
            for at_s, value in list(self._samples)
            if began_s + _DRIVER_PERIOD_S <= at_s <= ended_s
        ]
        return float(np.mean(values)) if values else None

    def _sample(self) -> None:
        while not self._ended.is_set():
            at_s, value = time.time(), self._read()
            if value is None:
                return
            self._samples.append((at_s, value))
            self._ended.wait(_PERIOD_S)


def busy_percent(environment: Mapping[str, str] = os.environ) -> float | None:
    """Ask nvidia-smi for the share of time in which the first visible card computed lately.

    Args:
        environment: CUDA_VISIBLE_DEVICES names the visible cards; without it all are.

    Returns:
        Percent, or None if there is no nvidia-smi, no card, or no value (a part of a card, MIG).
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    answer = ask_cards("utilization.gpu", f"--id={visible or 0}")
    try:
        return None if answer is None else float(answer)
    except ValueError:
        return None
