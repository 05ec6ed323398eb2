"""A cluster that grows on demand: it starts with no node for workers, and the run asks for them.

Ray's fake autoscaler starts its nodes on this machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cephray.checkpoint import checkpoints_in
from cephray.config import Config, dump_config
from cephray.data import write_dataset
from tests.cluster.heads import Head, started_head

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
MakeConfig = Callable[..., Config]

HEAD = "ray.head.default"  # the name that the fake one knows
EMPTY = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray")


def autoscaling(head: Head) -> list[str]:
    """Write the description of a cluster of up to two nodes; return the option that names it."""
    description = {
        "cluster_name": "grows",
        "max_workers": 2,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": head.address,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "available_node_types": {
            HEAD: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": {"CPU": 1, "object_store_memory": 10**8},
                "node_config": {},
                "min_workers": 0,
                "max_workers": 2,
            },
        },
        "head_node_type": HEAD,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.2,
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        "worker_start_ray_commands": [],
        **{f"{name}_commands": [] for name in EMPTY},
    }
    path = head.folder / "cluster.json"
    path.write_text(json.dumps(description))
    return [f"--autoscaling-config={path}"]


@pytest.fixture
def growing() -> Iterator[dict[str, str]]:
    """Start a head without CPUs, to which up to two nodes of one CPU come when they are asked for.

    Returns:
        The environment of commands that use the cluster.
    """
    often = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    with started_head(0, autoscaling, **often) as head:
        yield head.environment | {"RAY_ADDRESS": head.address}


def test_nodes_come_when_a_run_asks_for_them(
    growing: dict[str, str], tmp_path: Path, small_config: MakeConfig
) -> None:
    data, output, config = (tmp_path / name for name in ("films", "run", "config.yaml"))
    write_dataset(data, 12, size_px=(192, 240))
    config.write_text(dump_config(small_config("data.validation=none", "train.epochs=2")))
    arguments = ["--data", data, "--output", output, "--config", config, "--num-workers", "2"]
    waits = ["--set", "train.wait_for_resources_s=120"]
    ended = subprocess.run(
        [sys.executable, "-m", "cephray.cli", "train", *map(str, arguments), *waits],
        env=growing, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    [waiting] = [line for line in lines if line.startswith("waiting up to 120 s for room for")]
    assert "2 workers of 1 CPU each; the cluster has 1 node with 0 CPUs" in waiting
    assert any("2 × 1 CPU" in line for line in lines)
    assert checkpoints_in(output)[-1].progress.epoch == 2
