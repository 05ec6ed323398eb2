"""`cephray train` told to stop or killed, or its workers: the run ends as it would have.

What is compared is what a user would compare: exit code, the one line, and the final weights.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from cephray.checkpoint import find_checkpoint
from cephray.errors import RunError
from cephray.training.ownership import require_ownership, take_ownership
from tests.conftest import SMALL
from tests.training.processes import descendants, ray_processes, training, wait_until

# Three epochs of eleven steps: long enough to be hit in the middle.
LONG = ("data.training=all", "train.global_batch_size=2", "train.epochs=3")
NETWORKS = {
    "small": [f"--set={override}" for override in (*SMALL, *LONG)],
    "best": [
        "--config=best",
        *(f"--set={x}" for x in ("data.image_height=128", "data.image_width=96", *LONG)),
    ],
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> list[str]:
    """Return the options of a run."""
    return NETWORKS[request.param]


@pytest.fixture(scope="module")
def undisturbed(
    films: Path, network: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], Path]:
    """Train without any fault, once for each number of workers; return the last checkpoint."""
    ends: dict[int, Path] = {}

    def run(workers: int) -> Path:
        if workers not in ends:
            output = tmp_path_factory.mktemp("undisturbed") / "run"
            with training(films, output, (), *network, f"--num-workers={workers}") as process:
                succeeds(process)
            ends[workers] = output / "epoch-0003"
        return ends[workers]

    return run


@contextmanager
def in_its_second_epoch(
    films: Path, output: Path, *options: str
) -> Iterator[subprocess.Popen[str]]:
    """Start a long run and wait for its first checkpoint."""
    with training(films, output, (), *options) as process:
        wait_until((output / "epoch-0001/manifest.json").exists, "first checkpoint")
        yield process


def succeeds(process: subprocess.Popen[str]) -> None:
    """Wait for the end of a command that must not fail."""
    _, said = process.communicate(timeout=500)
    assert process.returncode == 0, said


def one_line(process: subprocess.Popen[str], code: int) -> str:
    """Wait for the end of a command that must fail; return what it says of it."""
    _, said = process.communicate(timeout=500)
    assert process.returncode == code, said
    lines = said.strip().splitlines()
    assert len(lines) == 1, said
    return lines[0]


def assert_same_end(output: Path, whole: Path, workers: int = 1) -> None:
    """One worker ends in the same bits; two within 1e-6 of the largest weight."""
    ended = load_file(output / "epoch-0003/weights.safetensors")
    for name, expected in load_file(whole / "weights.safetensors").items():
        if workers == 1:
            np.testing.assert_array_equal(ended[name], expected, err_msg=name)
        else:
            atol = 1e-6 * max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(ended[name], expected, rtol=0, atol=atol, err_msg=name)
    history = [row["epoch"] for row in find_checkpoint(output).progress.history]
    assert history == [1, 2, 3]
    rows = (output / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2", "3"]


@pytest.mark.slow
def test_a_driver_told_to_stop_saves_within_the_epoch(
    films: Path, network: list[str], tmp_path: Path, undisturbed: Callable[[int], Path]
) -> None:
    output = tmp_path / "run"
    with in_its_second_epoch(films, output, *network) as process:
        os.killpg(process.pid, signal.SIGTERM)  # as schedulers do: to the whole group
        line = one_line(process, 143)
    assert "stopped by SIGTERM after epoch" in line
    assert "is intact: go on with --resume" in line
    with training(films, output, (), "--resume") as process:
        wait_until(lambda: ray_processes(process.pid), "worker")
        # As a terminal does: to the whole group.
        os.killpg(process.pid, signal.SIGINT)
        line = one_line(process, 130)
    assert "stopped by SIGINT" in line
    assert "is intact: go on with --resume" in line
    with training(films, output, (), "--resume") as process:
        succeeds(process)
    assert_same_end(output, undisturbed(1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "number"), [(1, signal.SIGKILL), (1, signal.SIGTERM), (2, signal.SIGKILL)]
)
def test_a_killed_worker_is_replaced(
    workers: int,
    number: signal.Signals,
    films: Path,
    network: list[str],
    tmp_path: Path,
    undisturbed: Callable[[int], Path],
) -> None:
    output = tmp_path / "run"
    with in_its_second_epoch(films, output, *network, f"--num-workers={workers}") as process:
        killed = ray_processes(process.pid)
        os.kill(killed[-1], number)
        succeeds(process)
    assert len(killed) == workers
    assert_same_end(output, undisturbed(workers), workers)


@pytest.mark.slow
def test_a_killed_driver_leaves_a_run_to_resume(
    films: Path, network: list[str], tmp_path: Path, undisturbed: Callable[[int], Path]
) -> None:
    output = tmp_path / "run"
    with in_its_second_epoch(films, output, *network) as process:
        below = descendants(process.pid)
        process.kill()
        process.wait()
        with training(films, output, (), "--resume") as second:
            succeeds(second)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), "end of orphans")
    assert_same_end(output, undisturbed(1))


def test_a_worker_whose_run_was_taken_over_writes_nothing(tmp_path: Path) -> None:
    first = take_ownership(tmp_path)
    require_ownership(tmp_path, first)
    second = take_ownership(tmp_path)
    with pytest.raises(RunError, match="taken over by another `cephray train`"):
        require_ownership(tmp_path, first)
    require_ownership(tmp_path, second)
