"""The replicas as the server sees them: started, asked, given another network, counted.

It knows Ray Serve, and no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil
import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from cephray.cluster import BackgroundWork, cluster_nodes, network_environment
from cephray.data import Original
from cephray.errors import InputError, RunError
from cephray.serving.replica import BATCH_SIZE, Network, Replica

_APPLICATION = "cephray"

_START_S = 300.0  # TensorFlow, the network and a first film, on a busy machine
_MOST_CPUS = 4
_TRIES = 3  # of a film whose replica dies
_LEAVE_S = 60.0  # for replicas to finish their films, and to end
_REPLICA_BYTES = 1_500_000_000  # memory of a replica


class BusyError(RunError):
    """Raised if no replica answered in time."""


@dataclass(eq=False)
class _Running:
    """Replicas of one network: an application of Ray Serve, and how many films they have."""

    application: str
    handle: DeploymentHandle[Any]
    films: int = 0


class Pool:
    """Replicas of a network.

    Args:
        replicas: number of replicas.
    """

    def __init__(self, replicas: int) -> None:
        self.replicas = replicas
        self.network: Network | None = None
        self._running: _Running | None = None
        self._started = 0  # applications, whose names must differ

    def start(self, network: Network) -> None:
        """Start the replicas, or replace them by those of another network.

        Replicas that run answer until the new ones are ready. If each replica has a GPU of its
        own and there are no others, Ray Serve replaces them in turn instead.

        Args:
            network: that they are to load.

        Raises:
            InputError: the cluster has too few CPUs.
            RunError: the replicas did not start. Those that ran still run.
        """
        nodes = cluster_nodes()
        cpus, gpus = (sum(values) for values in zip(*nodes, strict=True))
        on_gpu = gpus >= self.replicas
        if cpus < self.replicas:
            raise InputError(
                f"--replicas {self.replicas}: the cluster has {cpus} CPUs, and each replica needs"
                f" one; give at most {cpus}"
            )
        before = self._running
        beside = not on_gpu or self.replicas == 1 or gpus >= 2 * self.replicas
        if before is not None and beside:
            self._require_memory(network, len(nodes))
        if before is None or beside:
            self._started += 1
        name = f"{_APPLICATION}-{self._started}"
        application = self._application(network, min(_MOST_CPUS, cpus // self.replicas), on_gpu)
        try:
            handle = _within(
                lambda: serve.run(application, name=name, route_prefix=None),
                _START_S,
                "the replicas",
            )
        except RunError as error:
            if before is None:
                raise
            if beside:
                _delete(name)
            raise RunError(
                f"the network {network['name']} could not be loaded, and the one before stays in"
                f" use: {error}"
            ) from None
        self._running, self.network = _Running(name, handle), network
        if before is not None and beside:
            deadline = time.monotonic() + _LEAVE_S
            while before.films and time.monotonic() < deadline:
                time.sleep(0.05)
            _delete(before.application)

    def _application(self, network: Network, threads: int, on_gpu: bool) -> serve.Application:
        environment = {**network_environment(on_gpu), "OMP_NUM_THREADS": str(threads)}
        gpus: float = 0
        if on_gpu:
            gpus = 0.5 if self.replicas == 1 else 1
        deployment = serve.deployment(
            name="Replica",
            num_replicas=self.replicas,
            max_ongoing_requests=4 * BATCH_SIZE,
            max_constructor_retry_count=2,
            user_config=network,
            health_check_period_s=5,
            health_check_timeout_s=60,
            graceful_shutdown_timeout_s=30,
            ray_actor_options={
                "num_cpus": threads / 2,  # half, so that those of the next network fit beside
                "num_gpus": gpus,
                "runtime_env": {"env_vars": environment},
            },
        )(Replica)
        return deployment.bind(environment)

    def _require_memory(self, network: Network, nodes: int) -> None:
        """Refuse to start replicas beside others, if this machine alone has no memory for them."""
        free, needed = psutil.virtual_memory().available, self.replicas * _REPLICA_BYTES
        if nodes == 1 and free < needed:
            raise RunError(
                f"the network {network['name']} is loaded while the one before still answers, and"
                f" this machine has {free / 1e9:.1f} GB of free memory of {needed / 1e9:.1f} that"
                " this takes; end other programs, or restart the server with --checkpoint"
            )

    async def predict(
        self, film: Original, spacing_mm: float | None, seconds: float
    ) -> dict[str, Any]:
        """Find the landmarks of a film.

        If the replica dies meanwhile, another one is asked.

        Args:
            film: as it was read.
            spacing_mm: millimetres per pixel if the film does not know its own, or None.
            seconds: to wait for an answer.

        Returns:
            What `Replica.predict` returns for the film.

        Raises:
            BusyError: there was no answer in time.
            RunError: the film could not be predicted.
        """
        if self._running is None:
            raise BusyError("the network is not ready; try again in a minute")
        try:
            return await asyncio.wait_for(self._ask(film, spacing_mm), seconds)
        except (asyncio.TimeoutError, TimeoutError):
            raise BusyError(
                f"no answer of the network within {seconds:g} s; try again later"
            ) from None

    async def _ask(self, film: Original, spacing_mm: float | None) -> dict[str, Any]:
        for tried in range(1, _TRIES + 1):
            asked = self._running
            assert asked is not None
            asked.films += 1
            try:
                found: dict[str, Any] = await asked.handle.predict.remote(film, spacing_mm)
                return found
            except (RayError, RayServeException) as error:
                if isinstance(error, ray.exceptions.RayTaskError):
                    said = str(error).strip().splitlines()[-1][:300]
                    raise RunError(f"the film could not be predicted ({said})") from None
                if tried == _TRIES:
                    raise BusyError(
                        "the network's process died, and was started again; try again"
                    ) from None
            finally:
                asked.films -= 1
        raise AssertionError("unreachable")

    def running(self) -> int:
        """Return the number of replicas that run."""
        name = self._running.application if self._running is not None else ""
        application = serve.status().applications.get(name)
        if application is None or "Replica" not in application.deployments:
            return 0
        states = application.deployments["Replica"].replica_states
        return sum(count for state, count in states.items() if str(state).endswith("RUNNING"))


def start_serve() -> None:
    """Start Ray Serve without its own HTTP server.

    Raises:
        RunError: it did not start.
    """
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    _within(
        lambda: serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"}),
        _START_S,
        "Ray Serve",
    )


def stop_serve() -> None:
    """Stop Ray Serve, with all its replicas."""
    _within(serve.shutdown, 30.0, "the end of Ray Serve")


def _delete(application: str) -> None:
    """End the replicas of an application. If that fails, they end with the server."""
    with suppress(RunError):
        _within(lambda: serve.delete(application), _LEAVE_S, "the end of replicas")


def _within(work: Callable[[], Any], seconds: float, what: str) -> Any:
    """Do work in the background, so that signals reach the main thread, and not for ever."""
    found: list[Any] = []
    background = BackgroundWork(lambda: found.append(work()), "cephray-serve")
    background.start()
    background.join(seconds)
    if background.is_alive():
        raise RunError(
            f"{what} did not come within {seconds:g} s; see Ray's logs in /tmp/ray, and whether"
            " other work keeps the cluster's CPUs"
        )
    try:
        background.raise_error()
    except (RuntimeError, TimeoutError, RayError, RayServeException) as error:
        said = " ".join(str(error).split())[:300]
        raise RunError(f"{what} could not be started: {said}") from None
    return found[0]
