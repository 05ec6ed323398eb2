"""Prediction over Ray Data: the same results as in one process, and a cluster's own faults."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cephray.checkpoint import Checkpoint, find_checkpoint
from cephray.data import find_films
from cephray.errors import InputError, RunError
from cephray.landmarks import ISBI2015
from cephray.prediction import on_cluster
from cephray.prediction.detector import Detector
from cephray.prediction.files import write_results
from cephray.prediction.films import predict_here
from tests.prediction.folders import assert_same_files, check, write_folder
from tests.training.processes import ray_processes


def test_a_cluster_and_this_process_give_the_same(
    films: Path, checkpoint: Checkpoint, cluster: None, tmp_path: Path
) -> None:
    files = find_films([films])
    progress: list[int] = []
    here = predict_here(Detector(checkpoint), files, ISBI2015, 2.0, blank_percent=10.0)
    check(write_results(here, files, tmp_path / "here", progress.append), tmp_path / "here", 30)
    assert sum(progress) == 30
    there = on_cluster.predict_on_cluster(checkpoint, files, ISBI2015, 2.0, blank_percent=10.0)
    summary = write_results(there, files, tmp_path / "there", progress.append)
    check(summary, tmp_path / "there", 30)
    assert sum(progress) == 60
    assert str(summary) == "spacing of films: 25 by --spacing"
    assert_same_files(tmp_path / "here", tmp_path / "there")


def test_when_a_cluster_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert not on_cluster.wants_cluster(on_cluster.A_HANDFUL, None)
    assert on_cluster.wants_cluster(on_cluster.A_HANDFUL + 1, None)
    assert on_cluster.wants_cluster(1, 2)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert not on_cluster.wants_cluster(1, None)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert on_cluster.wants_cluster(1, None)


def test_room_for_workers(cluster: None) -> None:
    assert on_cluster.room_for(None, 9, 1, print) == (1, 2, 0)
    assert on_cluster.room_for(2, 9, 1, print) == (2, 1, 0)
    with pytest.raises(RunError, match=r"asked for 3 workers of 1 CPU .*use fewer workers"):
        on_cluster.room_for(3, 9, 1, lambda line: None)


def test_a_checkpoint_that_is_not_on_every_node(
    films: Path, checkpoint: Checkpoint, cluster: None, tmp_path: Path
) -> None:
    shutil.copytree(Path(str(checkpoint.folder)), tmp_path / "moved")
    moved = find_checkpoint(tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved")
    files = find_films([films])
    with pytest.raises(InputError, match="does not exist on every node; put it on a path"):
        list(on_cluster.predict_on_cluster(moved, files, ISBI2015))


def test_a_cluster_that_stands_still(
    monkeypatch: pytest.MonkeyPatch, films: Path, checkpoint: Checkpoint, cluster: None
) -> None:
    import ray

    class Other:
        def hold(self) -> None: ...

    task: Any = ray.remote(num_cpus=2)(Other)
    other = task.remote()
    ray.get(other.hold.remote())
    monkeypatch.setattr(on_cluster, "_STANDSTILL_S", 5.0)
    started = time.monotonic()
    with pytest.raises(
        RunError, match=r"no film came back for 5 s; asked for 1 worker of 2 CPUs.*--num-workers"
    ):
        list(on_cluster.predict_on_cluster(checkpoint, find_films([films]), ISBI2015))
    assert time.monotonic() - started < 60
    ray.kill(other)


@pytest.mark.slow
def test_a_killed_worker_is_replaced(
    checkpoint: Checkpoint, cluster: None, tmp_path: Path
) -> None:
    files = find_films([write_folder(tmp_path, 200)])
    found = on_cluster.predict_on_cluster(checkpoint, files, ISBI2015)
    outcomes = [next(found)]
    workers = ray_processes(os.getpid(), "ray::MapWorker")
    assert workers
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    outcomes += found
    assert sorted(number for number, _ in outcomes) == list(range(200))


def predict_on_two_machines(folder: Path, films: Path, output: Path) -> None:
    """Start a cluster of two machines of one CPU each, and predict there."""
    import ray
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False}
    machines = Cluster(initialize_head=True, head_node_args=head)
    machines.add_node(num_cpus=1)
    ray.init(address=machines.address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        assert on_cluster.room_for(None, 9, 30, print) == (2, 1, 0)
        assert on_cluster.room_for(None, 1, 30, print) == (1, 1, 0)
        files = find_films([films])
        there = on_cluster.predict_on_cluster(find_checkpoint(folder), files, ISBI2015)
        check(write_results(there, files, output), output, 30)
    finally:
        ray.shutdown()
        machines.shutdown()  # type: ignore[no-untyped-call]


@pytest.mark.slow
def test_two_machines_give_the_same(films: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    # In a process of its own: Ray's cluster of several nodes leaves sockets open.
    process = multiprocessing.get_context("spawn").Process(
        target=predict_on_two_machines, args=(checkpoint.folder, films, tmp_path / "there")
    )
    process.start()
    process.join(400)
    process.kill()  # one that hangs would keep the test run from ending
    assert process.exitcode == 0
    files = find_films([films])
    here = predict_here(Detector(checkpoint), files, ISBI2015)
    write_results(here, files, tmp_path / "here")
    assert_same_files(tmp_path / "here", tmp_path / "there")


def test_reading_and_drawing_need_no_tensorflow() -> None:
    """Their processes start within a second, and hold 100 MB each."""
    code = "import sys, cephray.prediction.on_cluster; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
