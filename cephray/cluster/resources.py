"""The resources of a cluster: CPUs for each worker, and a limited wait for nodes that have them.

It knows Ray's nodes, and nothing of training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import NamedTuple

from cephray.errors import RunError

POLL_S = 0.5


class Node(NamedTuple):
    """CPUs and GPUs of one machine of the cluster."""

    cpus: int
    gpus: int


def cluster_nodes() -> list[Node]:
    """List the living nodes of the connected cluster."""
    import ray

    return [
        Node(int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0)))
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]


def places(nodes: Sequence[Node], cpus: int, gpus: float) -> int:
    """Return how many workers of so many CPUs and GPUs each the nodes hold.

    Args:
        nodes: of the cluster.
        cpus: CPUs of each worker.
        gpus: GPUs of each worker: 0, 1, or a part of one that others share.
    """
    total = 0
    for node in nodes:
        by_gpu = node.gpus * int(1 / gpus + 1e-6) if gpus else node.cpus
        total += min(node.cpus // cpus, by_gpu)
    return total


def fits(nodes: Sequence[Node], workers: int, cpus: int, gpus: float) -> bool:
    """Return whether the nodes hold so many workers of so many CPUs and GPUs each."""
    return places(nodes, cpus, gpus) >= workers


@contextmanager
def demand(workers: int, cpus: int, gpus: float) -> Iterator[None]:
    """Ask the cluster for room for so many workers, as long as the block lasts.

    An autoscaler starts the nodes that are missing. A cluster without one does nothing.
    """
    from ray.util import placement_group, remove_placement_group

    each = {"CPU": float(cpus), **({"GPU": float(gpus)} if gpus else {})}
    group = placement_group([each] * workers)
    try:
        yield
    finally:
        remove_placement_group(group)


def cpus_per_worker(
    workers: int,
    gpus: float,
    wanted: int | None,
    wait_s: float,
    least: int | None = None,
    nodes: Callable[[], Sequence[Node]] = cluster_nodes,
    ask: Callable[[int, int, float], AbstractContextManager[None]] = demand,
    show: Callable[[str], None] = print,
) -> int:
    """Choose the CPUs of each worker; ask for nodes that are missing, and wait a while for them.

    Args:
        workers: how many.
        gpus: GPUs of each, at most 1; a fraction is a part of one that others share.
        wanted: CPUs of each worker. If None, as many as there is room for.
        wait_s: how long to wait, seconds.
        least: number of workers that suffice to begin with. If None, all.
        nodes: lists what is there.
        ask: asks for room for workers, of so many CPUs and GPUs each.
        show: takes the line that says what is waited for.

    Returns:
        CPUs of each worker, at least 1.

    Raises:
        RunError: there is not enough; says what is there, what was asked, and the cure.
    """
    deadline = time.monotonic() + wait_s
    asked = describe_workers(workers, wanted or 1, gpus)
    told = False
    with ExitStack() as asking:
        while True:
            there = list(nodes())
            fitting = _most_cpus(there, workers, wanted, gpus)
            if fitting is None and least is not None:
                fitting = _most_cpus(there, least, wanted, gpus)
            if fitting is not None:
                return fitting
            have = (
                f"{_count(len(there), 'node')} with {_count(sum(n.cpus for n in there), 'CPU')} "
                f"and {_count(sum(n.gpus for n in there), 'GPU')}"
            )
            if time.monotonic() >= deadline:
                raise RunError(
                    f"asked for {asked}, the cluster has {have}: use fewer workers "
                    "(--num-workers), or add nodes; a run waits for them as long as "
                    "train.wait_for_resources_s says"
                )
            if not told:
                show(f"waiting up to {wait_s:g} s for room for {asked}; the cluster has {have}")
                asking.enter_context(ask(workers, wanted or 1, gpus))
                told = True
            time.sleep(min(POLL_S, wait_s))


def _most_cpus(nodes: Sequence[Node], workers: int, wanted: int | None, gpus: float) -> int | None:
    """Return the most CPUs that each of so many workers can have, or None if they do not fit."""
    most = max((node.cpus for node in nodes), default=0)
    choices = [wanted] if wanted is not None else range(most, 0, -1)
    return next((cpus for cpus in choices if fits(nodes, workers, cpus, gpus)), None)


def describe_workers(workers: int, cpus: int, gpus: float) -> str:
    """Name what is asked of a cluster, as messages do."""
    each = f" and {gpus:g} GPU each" if gpus else " each"
    return f"{_count(workers, 'worker')} of {_count(cpus, 'CPU')}{each}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
