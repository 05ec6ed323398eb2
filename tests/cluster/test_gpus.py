"""GPUs are seen by the processes that asked for them, and shared where that was asked.

Ray is told of two GPUs, whether or not the machine has any.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from cephray.cluster import network_environment
from cephray.config import Config, load_config
from cephray.errors import RunError
from cephray.prediction import on_cluster
from cephray.training import launch, plan_run
from tests.training.processes import WORKER, descendants
from tune.search import _with_cpus


@pytest.fixture(scope="module")
def two_gpus() -> Iterator[None]:
    ray.init(num_cpus=6, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def seen_by(gpus: float, count: int = 1) -> list[Any]:
    """Return what processes see that hold so much of a GPU each, all at the same time."""

    class Process:
        def see(self) -> str | None:
            return os.environ.get("CUDA_VISIBLE_DEVICES")

    environment = {"env_vars": network_environment(gpus > 0)}
    remote: Any = ray.remote(num_gpus=gpus, runtime_env=environment)(Process)
    processes = [remote.remote() for _ in range(count)]
    seen: list[Any] = ray.get([process.see.remote() for process in processes])
    for process in processes:
        ray.kill(process)
    return seen


def test_a_process_takes_the_memory_of_a_gpu_as_it_needs_it() -> None:
    assert network_environment(on_gpu=True)["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert "CUDA_VISIBLE_DEVICES" not in network_environment(on_gpu=True)


def wait_for_free_gpus() -> None:
    deadline = time.monotonic() + 60
    while ray.available_resources().get("GPU") != 2:  # type: ignore[no-untyped-call]
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.usefixtures("two_gpus")
def test_a_process_sees_the_gpu_that_it_asked_for_and_no_other() -> None:
    assert seen_by(0) == [""]
    assert sorted(seen_by(1, 2)) == ["0", "1"]


@pytest.mark.usefixtures("two_gpus")
def test_four_processes_share_two_gpus() -> None:
    assert sorted(seen_by(0.5, 4)) == ["0", "0", "1", "1"]


def gpus_of_processes_with_tensorflow() -> dict[str, str | None]:
    """Return what CUDA_VISIBLE_DEVICES is in Ray's processes below this one, by their commands."""
    found = {}
    for pid in descendants(os.getpid()):
        folder = Path(f"/proc/{pid}")
        try:
            has_tensorflow = "libtensorflow" in (folder / "maps").read_text()
            command = (folder / "cmdline").read_text().split("\0")[0]
            variables = dict(
                entry.partition("=")[::2]
                for entry in (folder / "environ").read_text(errors="replace").split("\0")
            )
        except OSError:
            continue  # it ended meanwhile
        if has_tensorflow and command.startswith("ray::"):
            found[f"{command} {pid}"] = variables.get("CUDA_VISIBLE_DEVICES")
    return found


@pytest.mark.usefixtures("two_gpus")
def test_a_run_on_cpus_leaves_the_gpus_alone(
    films: Path, tmp_path: Path, small_config: Callable[..., Config]
) -> None:
    """Its workers have TensorFlow in memory, and no process has it and sees a GPU."""
    seen: dict[str, str | None] = {}
    config = small_config("train.num_workers=2", "train.cpus_per_worker=1", "train.epochs=1")
    launch(
        plan_run(films, tmp_path / "run", config),
        on_row=lambda row: seen.update(gpus_of_processes_with_tensorflow()),
    )
    assert sum(WORKER in command for command in seen) == 2
    assert set(seen.values()) == {""}


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("options", "max_concurrent", "cpus"),
    [
        (["train.use_gpu=true"], None, 3),  # two trials at a time
        (["train.use_gpu=true", "train.gpus_per_worker=0.5"], None, 1),  # four
        (["train.use_gpu=true", "train.gpus_per_worker=0.5"], 2, 3),
        (["train.use_gpu=true", "train.num_workers=2"], None, 3),  # one, of two workers
        ([], None, 6),
    ],
)
def test_trials_on_gpus_share_the_cpus(
    options: list[str], max_concurrent: int | None, cpus: int
) -> None:
    base = _with_cpus(load_config(overrides=options), max_concurrent)
    assert base.train.cpus_per_worker == cpus


@pytest.mark.usefixtures("two_gpus")
def test_prediction_uses_the_gpus_that_are_there() -> None:
    wait_for_free_gpus()
    assert on_cluster.room_for(None, 9, 1, print) == (2, 3, 1)
    assert on_cluster.room_for(None, 1, 1, print) == (1, 4, 1)
    assert on_cluster.room_for(3, 9, 1, print) == (3, 2, 0.5)
    with pytest.raises(RunError, match=r"asked for 7 workers of 1 CPU and 0\.25 GPU each"):
        on_cluster.room_for(7, 9, 0, lambda line: None)
