"""A run whose process is killed frees its CPUs, also where two clusters share a machine."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from cephray.cluster.address import address_told
from cephray.config import Config
from cephray.training import launch, plan_run
from tests.training.processes import wait_until

OTHER = "import ray; ray.init('local', num_cpus=1, log_to_driver=False); print('up'); input()"


@pytest.fixture
def two_clusters() -> Iterator[None]:
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert other.stdout is not None
    wait_until(lambda: "up" in (other.stdout.readline() if other.stdout else ""), "other cluster")
    ray.init("local", num_cpus=2, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()
    other.communicate("\n")


def free_cpus() -> float:
    free: float = ray.available_resources().get("CPU", 0)  # type: ignore[no-untyped-call]
    return free


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_run_frees_its_cpus_beside_another_cluster(
    two_clusters: None, films: Path, tmp_path: Path, small_config: Callable[..., Config]
) -> None:
    config = small_config("train.epochs=1000", "train.cpus_per_worker=1")

    @ray.remote(num_cpus=0)
    def run() -> None:
        launch(plan_run(films, tmp_path / "run", config, False))

    running = run.remote()
    wait_until(lambda: list((tmp_path / "run").glob("epoch-*")), "finished epoch")
    assert free_cpus() == 1
    ray.cancel(running, force=True)
    wait_until(lambda: free_cpus() == 2, "freed CPU", timeout_s=60)


def test_address_is_told_for_a_while(cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with address_told():
        assert os.environ["RAY_ADDRESS"] == ray.get_runtime_context().gcs_address
    assert os.environ["RAY_ADDRESS"] == "auto"
    monkeypatch.delenv("RAY_ADDRESS")
    with address_told():
        pass
    assert "RAY_ADDRESS" not in os.environ
