"""The connection to Ray: to a running cluster, or to one that is started for a while, and quiet.

It imports Ray alone: what needs no TensorFlow can connect without it.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import ray

from cephray.errors import RunError, Stopped

_ANSWER_WITHIN_S = 10.0


@contextmanager
def connected(
    verbose: bool, show: Callable[[str], None], dashboard: bool = True
) -> Iterator[None]:
    """Connect to Ray for a while: to the running cluster, or to one started on this machine.

    A connection that was there is left alone.

    Args:
        verbose: let Ray's own logs through.
        show: takes the line that says where the dashboard is.
        dashboard: start one with a cluster that is started here.

    Raises:
        RunError: there is no cluster at `RAY_ADDRESS`, or none could be started.
        Stopped: by a signal, meanwhile.
    """
    if ray.is_initialized():
        yield
        return
    _require_answer(os.environ.get("RAY_ADDRESS", ""))
    level = logging.INFO if verbose else logging.ERROR
    # Ray's libraries set up their loggers at import; theirs are the lines that users do not need.
    logging.getLogger("ray").setLevel(level)
    try:
        connected = ray.init(
            log_to_driver=verbose,
            logging_level=level,
            include_dashboard=None if dashboard else False,
        )
    except SystemExit:  # what Ray makes of SIGTERM until our handler is there
        raise Stopped(signal.SIGTERM, "stopped by SIGTERM at once") from None
    except Exception as error:  # Ray raises bare ones
        ray.shutdown()
        raise RunError(
            f"Ray could not be started or connected to: {' '.join(str(error).split())}"
        ) from error
    if connected.dashboard_url:
        show(f"Ray dashboard at http://{connected.dashboard_url}")
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Refuse an address where nothing listens; Ray itself would ask there for many minutes."""
    try:
        place = urlsplit(address if "://" in address else f"//{address}")
        if place.hostname and place.port:
            where = (place.hostname, place.port)
            socket.create_connection(where, timeout=_ANSWER_WITHIN_S).close()
    except (OSError, ValueError) as error:
        raise RunError(
            f"no Ray cluster answers at RAY_ADDRESS={address} ({error}): start it, correct the"
            " address, or unset the variable to use this machine alone"
        ) from None
