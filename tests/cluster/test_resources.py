"""Workers and the nodes that have room for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cephray.cluster.resources import Node, cpus_per_worker, fits
from cephray.errors import RunError


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


class Asked:
    """What was asked of an autoscaler, and whether it still is."""

    def __init__(self) -> None:
        self.made: list[tuple[int, int, float]] = []
        self.lasts = 0

    @contextmanager
    def __call__(self, workers: int, cpus: int, gpus: float) -> Iterator[None]:
        self.made.append((workers, cpus, gpus))
        self.lasts += 1
        yield
        self.lasts -= 1


def test_cpus_are_shared_evenly_and_nodes_may_come_late() -> None:
    late = iter([[Node(2, 0)], [Node(2, 0)], [Node(2, 0), Node(4, 0)]])
    said: list[str] = []
    asked = Asked()
    assert cpus_per_worker(3, 0, 2, 30, nodes=lambda: next(late), ask=asked, show=said.append) == 2
    assert len(said) == 1
    assert asked.made == [(3, 2, 0)]
    assert not asked.lasts
    assert cpus_per_worker(2, 0, None, 0, nodes=lambda: [Node(8, 0)], ask=asked) == 4
    assert len(asked.made) == 1  # there was room


def test_fewer_workers_suffice_to_begin_with() -> None:
    asked = Asked()
    nodes = [Node(2, 1)]
    assert cpus_per_worker(3, 1, None, 0, least=1, nodes=lambda: nodes, ask=asked) == 2
    assert cpus_per_worker(2, 0, None, 0, least=1, nodes=lambda: nodes, ask=asked) == 1
    assert not asked.made
    with pytest.raises(RunError, match=r"asked for 3 workers of 1 CPU and 1 GPU each"):
        cpus_per_worker(3, 1, None, 0, least=2, nodes=lambda: nodes, ask=asked)
