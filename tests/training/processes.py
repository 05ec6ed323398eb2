"""Commands in processes of their own, and the processes below them, to be killed by tests.

Linux's /proc tells whose child a process is; other clusters on the machine are left alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

WORKER = "ray::RayTrainWorker"
TRIAL = "ray::ImplicitFunc"


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 240) -> None:
    """Wait for a condition; fail with what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {timeout_s} s"
        time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    """List the living processes below one, zombies left out."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it ended meanwhile
        if state != "Z":
            children.setdefault(int(parent), []).append(int(folder.name))
    found, pending = [], [pid]
    while pending:
        below = children.get(pending.pop(), [])
        found += below
        pending += below
    return found


def ray_processes(driver: int, kind: str = WORKER) -> list[int]:
    """List the processes below a driver that run the training loop, or of another kind."""
    found = []
    for pid in descendants(driver):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_text()
        except OSError:
            continue
        if command.startswith(kind):
            found.append(pid)
    return sorted(found)


def training(
    data: Path, output: Path, overrides: Sequence[str], *options: str
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Start `cephray train`; see `started`."""
    return started("cephray.cli", "train", data, output, overrides, options)


@contextmanager
def started(
    module: str,
    command: str,
    data: Path,
    output: Path,
    overrides: Sequence[str],
    options: Sequence[str],
) -> Iterator[subprocess.Popen[str]]:
    """Start a command on a cluster of its own, in a process group of its own."""
    sets = [part for override in overrides for part in ("--set", override)]
    arguments = [sys.executable, "-m", module, *command.split(), "--data", str(data)]
    arguments += ["--output", str(output), *sets, *options]
    environment = os.environ | {"RAY_ADDRESS": "local", "RAY_DISABLE_IMPORT_WARNING": "1"}
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for pid in [process.pid, *descendants(process.pid)] if process.poll() is None else []:
            os.kill(pid, 9)
        process.communicate()  # closes its pipes too
