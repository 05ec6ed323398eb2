"""Nodes that are lost and nodes that come: a run goes on with those that are there."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster
from safetensors.numpy import load_file

from cephray.checkpoint import checkpoints_in
from cephray.config import Config, load_config, override
from cephray.data import write_dataset
from cephray.errors import InputError, RunError
from cephray.training.driver import launch
from cephray.training.plan import plan_run

MakeConfig = Callable[..., Config]


@pytest.fixture(params=["small", "best"])
def make_config(request: pytest.FixtureRequest, small_config: MakeConfig) -> MakeConfig:
    """Build the small configuration, or the preset `best` on small films, with overrides."""
    size = ("data.image_height=128", "data.image_width=96")
    if request.param == "small":
        return small_config
    return lambda *overrides: load_config("best", [*size, *overrides])


@pytest.fixture
def nodes() -> Iterator[tuple[Cluster, Any]]:
    """Start two nodes of one CPU each; the driver is on the first."""
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield cluster, second
    _end(cluster)


def _end(cluster: Cluster) -> None:
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():  # it leaves sockets open
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.slow
@pytest.mark.parametrize("least", [1, 2])
def test_a_node_lost_for_good(
    least: int, nodes: tuple[Cluster, Any], tmp_path: Path, make_config: MakeConfig
) -> None:
    cluster, second = nodes
    data, output = tmp_path / "films", tmp_path / "run"
    write_dataset(data, 22, size_px=(192, 240))
    config = make_config(
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


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_grows_and_shrinks(tmp_path: Path, small_config: MakeConfig) -> None:
    """From one worker to three and down to two, it ends in the weights of an undisturbed run."""
    data = tmp_path / "films"
    write_dataset(data, 24, size_px=(192, 240))
    config = small_config(
        "data.validation=none",
        "train.precision=float64",
        "train.exchange_dtype=float64",
        "train.global_batch_size=3",
        "train.epochs=60",
        "train.learning_rate=1e-4",
        "train.clip_norm=1",
        "train.cpus_per_worker=1",
        "train.wait_for_resources_s=60",
    )
    elastic = override(
        config, {"train.num_workers": 3, "train.min_workers": 1, "train.grow_every_s": 5.0}
    )
    lines: list[str] = []
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    others: list[Any] = []

    def show(line: str) -> None:
        lines.append(line)
        started = [line for line in lines if line.startswith("training with")]
        if line.startswith("epoch  2/60"):
            others.extend(cluster.add_node(num_cpus=1) for _ in range(2))
        if line.startswith("epoch") and "3 of 3 workers" in started[-1] and len(others) == 2:
            cluster.remove_node(others.pop(), allow_graceful=False)

    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        grown = launch(plan_run(data, tmp_path / "grown", elastic, show=show), show=show)
        calm = launch(plan_run(data, tmp_path / "calm", config, show=print), show=print)
    finally:
        _end(cluster)
    workers = [line.split()[2] for line in lines if line.startswith("training with")]
    assert workers == ["1", "3", "2"]
    assert [row["epoch"] for row in grown.progress.history] == list(range(1, 61))
    weights = load_file(grown.file("weights.safetensors"))
    for name, expected in load_file(calm.file("weights.safetensors")).items():
        np.testing.assert_allclose(weights[name], expected, rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_node_that_is_about_to_be_taken_away(
    nodes: tuple[Cluster, Any], tmp_path: Path, make_config: MakeConfig
) -> None:
    """Its last steps are saved, and the other worker goes on; it counts as no failure."""
    cluster, second = nodes
    data, output = tmp_path / "films", tmp_path / "run"
    write_dataset(data, 24, size_px=(192, 240))
    config = make_config(
        "data.training=all",
        "data.validation=none",
        "train.global_batch_size=2",
        "train.epochs=40",
        "train.num_workers=2",
        "train.min_workers=1",
        "train.max_failures=0",
        "train.wait_for_resources_s=60",
        "train.checkpoint_every=1000",
    )
    lines: list[str] = []
    drain = [
        "--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=sold",
        "--deadline-remaining-seconds=15",
    ]  # fmt: skip

    def show(line: str) -> None:
        lines.append(line)
        if line.startswith("epoch  2/40"):
            subprocess.run(
                [sys.executable, "-m", "ray.scripts.scripts", "drain-node",
                 f"--address={cluster.address}", f"--node-id={second.node_id}", *drain],
                check=True,
            )  # fmt: skip

    best = launch(plan_run(data, output, config, show=print), show=show)
    [said] = [line for line in lines if "about to be taken away" in line]
    assert second.node_ip_address in said
    assert [line.split()[2] for line in lines if line.startswith("training with")] == ["2", "1"]
    epochs = [row["epoch"] for row in best.progress.history]
    assert epochs == list(range(1, 41))
    # It went on from a checkpoint that was saved within the last steps of the two.
    numbers = [int(line.split()[1].split("/")[0]) for line in lines if line.startswith("epoch")]
    assert len(numbers) <= 40 + 1


def test_more_workers_needed_than_wanted(small_config: MakeConfig) -> None:
    with pytest.raises(InputError, match="min_workers must not exceed num_workers; got 2 > 1"):
        small_config("train.min_workers=2")
