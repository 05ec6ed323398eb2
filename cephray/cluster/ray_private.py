"""What Ray keeps private and cephray uses, all in one place.

Ray has no public way to ask whether a cluster can be reached within a given time, to start one
whose processes get no signal of the terminal or scheduler, to watch the states of Ray Train's
controller, to ask a worker for announced preemptions without waiting for all other workers, to
pass a variable to its helper processes, or to do without one of them; and its trainer without
TensorFlow has no public address.
tests/cluster/test_ray_private.py says what changed if a new version of Ray breaks this file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray._private import services
from ray._private.services import canonicalize_bootstrap_address, get_node_to_connect_for_driver
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.train._internal.base_worker_group import BaseWorkerGroup as WorkerGroup
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.constants import (
    ENV_VARS_TO_PROPAGATE,
    WORKER_GROUP_START_TIMEOUT_S_ENV_VAR,
)
from ray.train.v2._internal.execution.callback import ControllerCallback
from ray.train.v2._internal.execution.context import get_train_context
from ray.train.v2._internal.execution.controller.state import (
    InitializingState,
    ReschedulingState,
    RestartingState,
    SchedulingState,
)
from ray.train.v2.api import data_parallel_trainer

__all__ = [
    "START_TIMEOUT_VARIABLE",
    "WAITING_STATES",
    "ControllerCallback",
    "DataParallelTrainer",
    "WorkerGroup",
]

START_TIMEOUT_VARIABLE: str = WORKER_GROUP_START_TIMEOUT_S_ENV_VAR
"""Environment variable: seconds that Ray Train waits for a group of workers to start."""

WAITING_STATES = (InitializingState, RestartingState, ReschedulingState, SchedulingState)
"""States of Ray Train's controller in which no worker runs and some are to be started."""


def recorded_address() -> str | None:
    """Return the address of the cluster that `ray.init` would connect to, or None.

    Raises:
        OSError, ValueError: `RAY_ADDRESS` is no address.
    """
    address: str | None = canonicalize_bootstrap_address(None)  # type: ignore[arg-type]
    return address


def connect_to_head(address: str) -> GcsClient:
    """Connect to the control service of a cluster; waits up to 40 s for an answer.

    Raises:
        Exception: of many kinds, if there is no answer or no permission.
    """
    return GcsClient(address=address)


def require_node(client: GcsClient, timeout_s: int) -> None:
    """Find a living node of the cluster on this machine.

    Args:
        client: Of `connect_to_head`.
        timeout_s: How long to look, seconds.

    Raises:
        Exception: there is none.
    """
    get_node_to_connect_for_driver(client, timeout_seconds=timeout_s)


class _InOwnSession(services.ConsolePopen):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, start_new_session=True, **options)


@contextmanager
def own_sessions() -> Iterator[None]:
    """Give the processes of a cluster that is started meanwhile sessions of their own.

    A scheduler, or `timeout`, sends SIGTERM to the whole process group of a command. It then
    reaches the command alone, which asks its workers to save; if it ended the cluster too, the
    command would wait for it in vain. Ray ends the processes if the command is killed.
    """
    before = services.ConsolePopen
    services.ConsolePopen = _InOwnSession  # type: ignore[misc]
    try:
        yield
    finally:
        services.ConsolePopen = before  # type: ignore[misc]


class DataParallelTrainer(data_parallel_trainer.DataParallelTrainer):
    """Ray Train's trainer without the process that it starts for Ray Data's sets of data.

    cephray hands none over. The process would take seconds and 200 MB of each run and trial.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [one for one in callbacks if not isinstance(one, DatasetsCallback)]


def pass_to_helpers(variable: str) -> None:
    """Let Ray Train pass an environment variable of the driver to its controller and helpers."""
    ENV_VARS_TO_PROPAGATE.add(variable)


def announced_preemptions() -> list[str]:
    """Return the ids of the nodes of this run's workers that are about to be taken away.

    It is for worker processes of Ray Train.
    """
    info = get_train_context().preemption_context.preemption_info
    return info.preempted_node_ids if info is not None else []
