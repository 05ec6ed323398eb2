"""The connection to Ray: to a running cluster, or to one that is started for a while, and quiet.

It imports Ray alone: what needs no TensorFlow can connect without it.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray

from cephray.cluster.ray_private import own_sessions
from cephray.cluster.running import require_cluster
from cephray.errors import RunError, Stopped


@contextmanager
def connected(
    verbose: bool, show: Callable[[str], None], dashboard: bool = True
) -> Iterator[None]:
    """Connect to Ray for a while: to the running cluster, or to one started on this machine.

    A connection that was there is left alone.

    Args:
        verbose: let Ray's own logs through.
        show: takes the lines that say which cluster is used, if none was asked for, and where the
            dashboard is.
        dashboard: start one with a cluster that is started here, and say where the dashboard is.

    Raises:
        InputError: `RAY_ADDRESS` is the address of Ray's client.
        RunError: the cluster at `RAY_ADDRESS`, or of Ray's own record, cannot be used, or none
            could be started.
        Stopped: by a signal, meanwhile.
    """
    if ray.is_initialized():
        yield
        return
    unasked = require_cluster()
    level = logging.INFO if verbose else logging.ERROR
    # Ray's libraries set up their loggers at import; theirs are the lines that users do not need.
    logging.getLogger("ray").setLevel(level)
    try:
        with own_sessions():
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
    if unasked is not None:
        show(
            f"using the Ray cluster at {unasked}, which was running on this machine; "
            "RAY_ADDRESS=local starts one for this command alone"
        )
    if dashboard and connected.dashboard_url:
        show(f"Ray dashboard at http://{connected.dashboard_url}")
    try:
        yield
    finally:
        ray.shutdown()
