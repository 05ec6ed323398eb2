"""Workers and the nodes that have room for them."""

from __future__ import annotations

import pytest

from cephray.cluster.resources import Node, cpus_per_worker, fits


@pytest.mark.parametrize(
    ("workers", "cpus", "gpus", "there"),
    [
        (2, 1, 0, True),
        (2, 2, 0, True),
        (3, 2, 0, True),
        (4, 2, 0, False),
        (2, 1, 1, False),
        (3, 1, 1 / 3, True),
        (2, 1, 0.6, False),  # a worker's part lies on one GPU
        (5, 1, 0.25, False),  # the node with the GPU has four CPUs
    ],
)
def test_workers_do_not_span_nodes(workers: int, cpus: int, gpus: float, there: bool) -> None:
    assert fits([Node(4, 1), Node(3, 0)], workers, cpus, gpus) == there


def test_cpus_are_shared_evenly_and_nodes_may_come_late() -> None:
    late = iter([[Node(2, 0)], [Node(2, 0), Node(4, 0)]])
    said: list[str] = []
    assert cpus_per_worker(3, 0, 2, 30, nodes=lambda: next(late), show=said.append) == 2
    assert len(said) == 1
    assert cpus_per_worker(2, 0, None, 0, nodes=lambda: [Node(8, 0)]) == 4
