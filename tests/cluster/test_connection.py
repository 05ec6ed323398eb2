"""A cluster that cannot be used ends a command in one line, within seconds."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from ray.exceptions import AuthenticationError

from cephray.cluster import running as cluster_check
from cephray.cluster.connection import connected
from cephray.cluster.running import require_cluster
from cephray.errors import InputError, RunError
from tests.cluster.heads import started_head
from tests.training.processes import wait_until

OTHERWISE = "set RAY_ADDRESS to another cluster, or RAY_ADDRESS=local to use this machine alone"


def test_an_address_where_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    started = time.monotonic()
    with (
        pytest.raises(
            RunError, match=f"no Ray cluster answers at RAY_ADDRESS={address} .*{OTHERWISE}"
        ),
        connected(False, print),
    ):
        pass
    assert time.monotonic() - started < 15
    assert not ray.is_initialized()


def test_an_address_of_rays_client_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with (
        pytest.raises(InputError, match="through Ray's client; submit it as a job"),
        connected(False, print),
    ):
        pass


def test_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:port")
    with pytest.raises(RunError, match="RAY_ADDRESS=head:port"), connected(False, print):
        pass


def test_signals_to_the_group_of_the_command_do_not_reach_its_cluster() -> None:
    script = """
import os, psutil
from cephray.cluster import connected
with connected(False, lambda line: None, dashboard=False):
    below = psutil.Process().children(recursive=True)
    print(len(below) >= 2, os.getpgid(0) in {os.getpgid(process.pid) for process in below})
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "RAY_ADDRESS": "local"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True", "False"]


def test_what_ray_raises_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**settings: object) -> None:
        raise Exception("The current node\ntimed out")

    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setattr(ray, "init", init)
    with (
        pytest.raises(RunError, match=r"Ray could not be started .*: The current node timed out"),
        connected(False, print),
    ):
        pass


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Let Ray's record name an address that takes connections and never answers."""
    listener = socket.create_server(("", 0))  # Ray takes another address of this machine
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/ray_current_cluster").write_text(address)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(cluster_check, "ANSWER_WITHIN_S", 1)
    yield address
    listener.close()


def test_what_listens_and_is_no_cluster(record: str) -> None:
    """In a process of its own: Ray's client goes on asking for a while."""
    call = (
        "import time\n"
        "from cephray.cluster import running as cluster_check\n"
        "cluster_check.ANSWER_WITHIN_S = 1\n"
        "started = time.monotonic()\n"
        "try:\n"
        "    cluster_check.require_cluster()\n"
        "finally:\n"
        "    print(time.monotonic() - started)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", call], capture_output=True, text=True, timeout=60, check=False
    )
    said = ended.stderr.strip().splitlines()[-1]
    port = record.split(":")[1]
    assert f":{port} (from Ray's record of this machine) does not answer as a Ray cluster" in said
    assert said.endswith(OTHERWISE)
    assert float(ended.stdout.split()[-1]) < 20


@pytest.mark.parametrize(
    ("client", "node", "said"),
    [
        (None, RuntimeError("no node info"), "has no living node on this machine, its node proc"),
        (AuthenticationError("no token"), None, "asks for a token: set RAY_AUTH_MODE=token"),
        (RuntimeError("not a cluster"), None, "does not answer as a Ray cluster"),
        (None, None, None),
    ],
)
def test_what_the_cluster_of_the_record_says(
    client: Exception | None,
    node: Exception | None,
    said: str | None,
    record: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def raise_or_return(error: Exception | None) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(cluster_check, "connect_to_head", lambda address: raise_or_return(client))
    monkeypatch.setattr(
        cluster_check,
        "require_node",
        lambda client, timeout_s: raise_or_return(node),
    )
    if said is None:
        asked_for_none = require_cluster()
        assert asked_for_none is not None
        assert asked_for_none.endswith(f":{record.split(':')[1]}")
        return
    with pytest.raises(RunError, match=f"{said}.*{OTHERWISE}") as raised:
        require_cluster()
    assert f":{record.split(':')[1]} (from Ray's record of this machine)" in str(raised.value)


def test_no_record_and_a_living_cluster(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `cluster_check` takes from Ray's private parts holds of this version of Ray."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert require_cluster() is None  # there is none: Ray would start one
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert require_cluster() is None  # it was asked for
    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    assert require_cluster() is None
    monkeypatch.setattr(ray._private.services, "find_node_ids", frozenset)
    monkeypatch.setattr(cluster_check, "ANSWER_WITHIN_S", 1)
    with pytest.raises(RunError, match="has no living node on this machine"):
        require_cluster()


@pytest.mark.parametrize("unasked", ["10.0.0.1:6379", None])
def test_a_cluster_that_nobody_asked_for_is_named(
    unasked: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr("cephray.cluster.connection.require_cluster", lambda: unasked)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    started = SimpleNamespace(dashboard_url="127.0.0.1:8265")
    monkeypatch.setattr(ray, "init", lambda **options: started)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    for dashboard in (True, False):
        with connected(False, lines.append, dashboard=dashboard):
            pass
    using = (
        "using the Ray cluster at 10.0.0.1:6379, which was running on this machine; "
        "RAY_ADDRESS=local starts one for this command alone"
    )
    at = "Ray dashboard at http://127.0.0.1:8265"
    assert lines == ([at] if unasked is None else [using, at, using])


@pytest.fixture
def head_without_node() -> Iterator[dict[str, str]]:
    """Start a cluster and kill its node process; return the environment."""
    ports = ("--min-worker-port=0", "--max-worker-port=0")
    with started_head(1, lambda head: ports) as head:
        [node] = [process for process in head.processes() if process.name() == "raylet"]
        node.kill()
        wait_until(lambda: not node.is_running() or node.status() == "zombie", "dead node", 20)
        assert any(process.name() == "gcs_server" for process in head.processes())
        yield head.environment


@pytest.mark.slow
def test_a_cluster_whose_node_process_was_killed(
    head_without_node: dict[str, str], films: Path, tmp_path: Path
) -> None:
    output = ["--output", str(tmp_path / "out")]
    commands = [
        ["cephray.cli", "train", "--data", str(films), *output],
        ["cephray.cli", "predict", str(films), *output],
        ["tune.search", "--data", str(films), *output],
    ]
    for command in commands:
        started = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-m", *command],
            env=head_without_node,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 1, ended.stderr
        [line] = ended.stderr.strip().splitlines()
        assert "(from Ray's record of this machine) has no living node on this machine" in line
        assert "end it by `ray stop`" in line
        assert time.monotonic() - started < 20
