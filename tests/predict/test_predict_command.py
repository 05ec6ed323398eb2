"""Prediction of folders as a user meets it: by exit code and lines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cephray.predict import (
    Summary,
)
from cephray.train.checkpoint import Checkpoint
from tests.predict.folders import BROKEN, check, write_folder
from tests.train.processes import descendants, wait_until


def command(checkpoint: Checkpoint, output: Path, *rest: str | Path) -> list[str]:
    return [
        sys.executable, "-m", "cephray.cli", "predict", "--checkpoint", str(checkpoint.folder),
        "--output", str(output), *map(str, rest),
    ]  # fmt: skip


@pytest.mark.parametrize("count", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_a_folder_with_broken_films(checkpoint: Checkpoint, tmp_path: Path, count: int) -> None:
    """As a user meets it: results of all the others, a line each, and the exit code."""
    folder, output = write_folder(tmp_path, count), tmp_path / "out"
    ended = subprocess.run(
        command(checkpoint, output, folder), env=os.environ | {"RAY_ADDRESS": "local"},
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    *unread, last = ended.stderr.splitlines()
    assert last == f"cephray: {BROKEN} of {count} films could not be read"
    passed_over = "cephray: passed over: film "
    assert all(line.startswith(passed_over) for line in unread), ended.stderr
    spacing = f"spacing of films: {count - BROKEN} unknown (--spacing MM gives it)"
    assert ended.stdout.splitlines()[:4] == [
        f"{count - BROKEN} of {count} films: results in {output}", spacing,
        "landmarks were not compared with those of the training films: the checkpoint has no"
        " statistics of them (`cephray compact --data DIR` adds them)",
        # The network was never trained.
        f"doubtful films: {count - BROKEN} of {count - BROKEN}",
    ]  # fmt: skip
    unread = [line.removeprefix("cephray: passed over: ") for line in unread]
    check(Summary(written=count - BROKEN, unread=unread), output, count)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_one_line(
    checkpoint: Checkpoint, tmp_path: Path, number: int, code: int
) -> None:
    folder, output = write_folder(tmp_path, 600), tmp_path / "out"
    with subprocess.Popen(
        command(checkpoint, output, folder), env=os.environ | {"RAY_ADDRESS": "local"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        wait_until(
            lambda: process.poll() is not None or list(output.rglob("*.json")), "first result"
        )
        below = descendants(process.pid)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert len(said.splitlines()) == 1, said
    assert "of 600 films have their results in" in said
    assert (output / "landmarks.csv").exists()
    wait_until(lambda: not set(below) & set(psutil.pids()), "end of all processes", 60)
