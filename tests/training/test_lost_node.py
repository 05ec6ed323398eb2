"""A node of two is lost for good: the run goes on with the worker left, or ends in one line."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from cephray.checkpoint import checkpoints_in
from cephray.config import Config
from cephray.data import write_dataset
from cephray.errors import InputError, RunError
from cephray.training.driver import launch
from cephray.training.plan import plan_run

MakeConfig = Callable[..., Config]


@pytest.fixture
def nodes() -> Iterator[tuple[Cluster, Any]]:
    """Start two nodes of one CPU each; the driver is on the first."""
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield cluster, second
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]


@pytest.mark.slow
@pytest.mark.parametrize("least", [1, 2])
def test_a_node_lost_for_good(
    least: int, nodes: tuple[Cluster, Any], tmp_path: Path, small_config: MakeConfig
) -> None:
    cluster, second = nodes
    data, output = tmp_path / "films", tmp_path / "run"
    write_dataset(data, 22, size_px=(192, 240))
    config = small_config(
        "data.training=all",
        "train.global_batch_size=2",
        "train.epochs=3",
        "train.num_workers=2",
        f"train.min_workers={least}",
        "train.wait_for_resources_s=60",
    )
    lost_at = [0.0]

    def show(line: str) -> None:
        if line.startswith("epoch 2/3") and not lost_at[0]:
            cluster.remove_node(second, allow_graceful=False)
            lost_at[0] = time.monotonic()

    plan = plan_run(data, output, config, show=lambda line: None)
    if least == 2:
        with pytest.raises(
            RunError,
            match=r"2 workers of 1 CPU each could not be started within 60 s .*is intact: go",
        ):
            launch(plan, show=show)
        assert time.monotonic() - lost_at[0] < 240
    else:
        best = launch(plan, show=show)
        assert [row["epoch"] for row in best.progress.history] == [1, 2, 3]
    assert lost_at[0]
    assert checkpoints_in(output)


def test_more_workers_needed_than_wanted(small_config: MakeConfig) -> None:
    with pytest.raises(InputError, match="min_workers must not exceed num_workers; got 2 > 1"):
        small_config("train.min_workers=2")
