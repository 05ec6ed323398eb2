"""Clusters that are started as `ray start` does, apart from others on this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import ray


@dataclass(frozen=True)
class Head:
    """A head node.

    Args:
        address: of the head.
        environment: of commands that use the cluster.
        folder: of the cluster's files.
    """

    address: str
    environment: dict[str, str]
    folder: Path

    def processes(self) -> list[psutil.Process]:
        """List the processes of the cluster."""
        own = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("RAY_TMPDIR") == str(self.folder):
                    own.append(process)
            except psutil.Error:
                continue
        return own


@contextmanager
def started_head(
    cpus: int,
    options: Callable[[Head], Sequence[str]] = lambda head: (),
    **variables: str,
) -> Iterator[Head]:
    """Start a head, and end its cluster.

    Args:
        cpus: number of CPUs of the head.
        options: returns further options of `ray start`.
        variables: further environment variables.
    """
    folder = Path(tempfile.mkdtemp(prefix="cr-", dir="/tmp"))  # a socket's path must be short
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "RAY_TMPDIR": str(folder),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": uuid.uuid4().hex,
        **variables,
    }
    here = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    head = Head(f"{here}:{port}", environment, folder)
    command = f"-m ray.scripts.scripts start --head --port={port} --num-cpus={cpus}"
    usual = "--include-dashboard=false --disable-usage-stats --object-store-memory=200000000"
    with (folder / "log").open("w") as log:  # the nodes outlive the command: no pipe would end
        subprocess.run(
            [sys.executable, *command.split(), *usual.split(), *options(head)],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            timeout=120,
            check=True,
        )
    yield head
    for process in head.processes():
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)
