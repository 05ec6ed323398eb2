"""What Ray Train does on the workers before a run, and what starts without TensorFlow."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray

from cephray.training.backend import TensorFlowWorkers, free_address


class FakeGroup:
    """Workers that share this process; keeps what each finds in its environment."""

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses
        self.configs: list[Any] = []

    def execute(self, function: Callable[[], str]) -> list[str]:
        assert function is free_address
        return self.addresses

    def execute_single_async(self, rank: int, function: Callable[..., None], *given: Any) -> None:
        function(*given)
        assert len(self.configs) == rank
        self.configs.append(json.loads(os.environ["TF_CONFIG"]))


def test_each_worker_learns_the_addresses_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", "")
    monkeypatch.setattr(ray, "get", lambda references: references)
    group = FakeGroup(["10.0.0.1:80", "10.0.0.2:90"])
    backend = TensorFlowWorkers()
    backend.backend_cls().on_start(group, backend)  # type: ignore[arg-type]
    assert group.configs == [
        {"cluster": {"worker": group.addresses}, "task": {"type": "worker", "index": rank}}
        for rank in range(2)
    ]


def test_an_address_has_a_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "127.0.0.1")
    host, port = free_address().split(":")
    with socket.create_server((host, int(port))):
        assert free_address() != f"{host}:{port}"


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_an_address_of_ipv6_has_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "fd00::1")
    assert free_address().startswith("[fd00::1]:")


def test_drivers_and_controllers_start_without_tensorflow(films: Path, tmp_path: Path) -> None:
    """It takes seconds to import, in each of these processes before the workers start."""
    script = """
import sys
import cephray.training.driver, cephray.training.worker, tune.search, tune.trial
from cephray.training import train
cephray.training.driver.launch = lambda plan, verbose: None  # the cluster would start here
train("small", data=sys.argv[1], output=sys.argv[2])
print([name for name in ("tensorflow", "keras", "jax", "torch") if name in sys.modules])
"""
    command = [sys.executable, "-c", script, str(films), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
