"""The replicas as the server sees them: started, asked, given another network, counted.

It knows Ray Serve, and no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.handle import DeploymentHandle

from cephray.cluster import BackgroundWork, cluster_nodes, network_environment
from cephray.data import Original
from cephray.errors import InputError, RunError
from cephray.serving.replica import BATCH_SIZE, Network, Replica

_APPLICATION = "cephray"

_START_S = 300.0  # TensorFlow, the network and a first film, on a busy machine
_MOST_CPUS = 4
_TRIES = 3  # of a film whose replica dies


class BusyError(RunError):
    """Raised if no replica answered in time."""


class Pool:
    """Replicas of a network.

    Args:
        replicas: number of replicas.
    """

    def __init__(self, replicas: int) -> None:
        self.replicas = replicas
        self.network: Network | None = None
        self._handle: DeploymentHandle[Any] | None = None

    def start(self, network: Network) -> None:
        """Start the replicas, or give them another network.

        Ray Serve replaces replicas that run, one after the other. Each finishes the films that it
        has, and others wait meanwhile.

        Args:
            network: that they are to load.

        Raises:
            InputError: the cluster has too few CPUs.
            RunError: the replicas did not start.
        """
        nodes = cluster_nodes()
        cpus, gpus = (sum(values) for values in zip(*nodes, strict=True))
        on_gpu = gpus >= self.replicas
        if cpus < self.replicas:
            raise InputError(
                f"--replicas {self.replicas}: the cluster has {cpus} CPUs, and each replica needs"
                f" one; give at most {cpus}"
            )
        deployment = serve.deployment(
            name="Replica",
            num_replicas=self.replicas,
            max_ongoing_requests=4 * BATCH_SIZE,
            user_config=network,
            health_check_period_s=5,
            health_check_timeout_s=60,
            graceful_shutdown_timeout_s=30,
            ray_actor_options={
                "num_cpus": min(_MOST_CPUS, cpus // self.replicas),
                "num_gpus": 1 if on_gpu else 0,
                "runtime_env": {"env_vars": network_environment(on_gpu)},
            },
        )(Replica)
        application = deployment.bind(network_environment(on_gpu))
        self._handle = _within(
            lambda: serve.run(application, name=_APPLICATION, route_prefix=None),
            _START_S,
            "the replicas",
        )
        self.network = network

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
        if self._handle is None:
            raise BusyError("the network is not ready; try again in a minute")
        try:
            return await asyncio.wait_for(self._ask(film, spacing_mm), seconds)
        except (asyncio.TimeoutError, TimeoutError):
            raise BusyError(
                f"no answer of the network within {seconds:g} s; try again later"
            ) from None

    async def _ask(self, film: Original, spacing_mm: float | None) -> dict[str, Any]:
        assert self._handle is not None
        for tried in range(1, _TRIES + 1):
            try:
                found: dict[str, Any] = await self._handle.predict.remote(film, spacing_mm)
                return found
            except RayError as error:
                if isinstance(error, ray.exceptions.RayTaskError):
                    said = str(error).strip().splitlines()[-1][:300]
                    raise RunError(f"the film could not be predicted ({said})") from None
                if tried == _TRIES:
                    raise BusyError(
                        "the network's process died, and was started again; try again"
                    ) from None
        raise AssertionError("unreachable")

    def running(self) -> int:
        """Return the number of replicas that run."""
        application = serve.status().applications.get(_APPLICATION)
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
    except RuntimeError as error:
        said = " ".join(str(error).split())[:300]
        raise RunError(f"{what} could not be started: {said}") from None
    return found[0]
