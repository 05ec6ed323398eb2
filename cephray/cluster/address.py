"""The address of the connected cluster, passed to Ray Train's helper processes.

The helper that frees the CPUs of a run whose process was killed looks for a cluster on its
machine. Where there are two it gives up, and the CPUs stay taken: a search would starve on the
trials that it stops. It knows Ray, and no training.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from cephray.cluster.ray_private import pass_to_helpers

_ADDRESS = "RAY_ADDRESS"


@contextmanager
def address_told() -> Iterator[None]:
    """Pass the connected cluster's address to the helpers of runs that start in the block."""
    before = os.environ.get(_ADDRESS)
    pass_to_helpers(_ADDRESS)
    os.environ[_ADDRESS] = ray.get_runtime_context().gcs_address
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ADDRESS]
        else:
            os.environ[_ADDRESS] = before
