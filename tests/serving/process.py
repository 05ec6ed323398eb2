"""`cephray serve` as a process of its own, for tests that need its network or its end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil

TOKEN = "a-token-of-these-tests"


@dataclass
class Served:
    """A server that runs as a process."""

    process: subprocess.Popen[str]
    folder: Path
    lines: list[str] = field(default_factory=list)
    address: str = ""

    def ask(
        self, path: str, content: bytes | None = None, method: str | None = None,
        token: str | None = TOKEN, host: str = "127.0.0.1", timeout: float = 300,
    ) -> tuple[int, Any]:  # fmt: skip
        """Return the status and the JSON values of an answer."""
        address = self.address.replace("0.0.0.0", host)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if content is not None:
            headers["Content-Type"] = "application/octet-stream"
            if content[:1] == b"{":
                headers["Content-Type"] = "application/json"
        request = Request(f"{address}{path}", content, headers, method=method)
        try:
            with urlopen(request, timeout=timeout) as answer:
                body = answer.read()
                return answer.status, json.loads(body) if body[:1] in b"{[" else body
        except HTTPError as error:
            return error.code, json.loads(error.read())

    def replicas(self) -> list[psutil.Process]:
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if "ServeReplica" in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@contextmanager
def served(folder: Path, *options: str) -> Iterator[Served]:
    """Start `cephray serve`; wait until it prints its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cephray.cli", "serve", "--cases", str(folder), "--port", "0",
         *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "RAY_ADDRESS": "local", "CEPHRAY_TOKEN": TOKEN},
    )  # fmt: skip
    assert process.stdout is not None
    found = Served(process, folder)
    try:
        for line in process.stdout:
            found.lines.append(line.rstrip())
            if line.startswith("open "):
                break
        else:
            raise AssertionError("\n".join(found.lines))
        rest = threading.Thread(target=lambda: found.lines.extend(process.stdout or ()))
        rest.start()
        found.address = re.sub(r"/(\?token=.*)?$", "", found.lines[-1].removeprefix("open "))
        yield found
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)
        rest.join(10)
    finally:
        if process.poll() is None:
            process.kill()
        process.stdout.close()
