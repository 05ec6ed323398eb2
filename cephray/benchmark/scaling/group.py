"""A group of workers that exchange through links of a given latency and rate.

All workers are processes of this machine. `worker.py` is what each of them runs.
"""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from dataclasses import dataclass

from cephray.benchmark.scaling.link import HOST, relays
from cephray.benchmark.scaling.model import Link, StepProfile
from cephray.benchmark.scaling.worker import measure
from cephray.errors import RunError
from cephray.progress import prepare_tensorflow

GROUP_S = 600  # the longest that a group may take


@dataclass(frozen=True)
class GroupTimes:
    """What a group measured.

    Args:
        workers: number of workers.
        messages_s: seconds of a message of each size, one a turn.
        steps_s: seconds of a step of each profile, one a turn.
    """

    workers: int
    messages_s: list[list[float]]
    steps_s: list[list[float]]


def measure_group(
    workers: int, link: Link, sizes: Sequence[int], profiles: Sequence[StepProfile]
) -> GroupTimes:
    """Start workers, check that they add up, and time messages and steps.

    Args:
        workers: number of processes.
        link: of each of them.
        sizes: bytes of the messages to time.
        profiles: of the steps to time.

    Raises:
        RunError: a sum is wrong, or the workers did not end in time.
    """
    ports = _free_ports(workers)
    with relays(ports, link) as before:
        pool = _start(workers)
        try:
            running = [
                pool.submit(
                    measure, rank, _addresses(rank, ports, before), tuple(sizes), tuple(profiles)
                )
                for rank in range(workers)
            ]
            done, _ = wait(running, GROUP_S, FIRST_EXCEPTION)
            for future in done:
                future.result()
            if len(done) < workers:
                raise RunError(f"{workers} workers did not end within {GROUP_S} s")
            return GroupTimes(workers, *running[0].result())
        finally:
            for process in list(pool._processes.values()):  # some may wait for others
                process.kill()
            pool.shutdown(wait=True, cancel_futures=True)


def _start(workers: int) -> ProcessPoolExecutor:
    """Start processes that have imported TensorFlow, once for all of them."""
    prepare_tensorflow()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cephray.benchmark.scaling.preload"])
    return ProcessPoolExecutor(workers, mp_context=context)


def _free_ports(count: int) -> list[int]:
    listeners = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def _addresses(rank: int, ports: Sequence[int], before: Sequence[int]) -> list[str]:
    """Return what a worker takes for the workers' addresses: its own, and the others' relays."""
    return [
        f"{HOST}:{port if other == rank else relay}"
        for other, (port, relay) in enumerate(zip(ports, before, strict=True))
    ]
