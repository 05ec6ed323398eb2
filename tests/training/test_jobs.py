"""docs/cluster.md, command by command: two nodes on this machine, a wheel, jobs.

The nodes run in an environment that sees every package but the checkout: the wheel is what the
jobs import. `CEPHRAY_WHEEL` names it; `make wheel` leaves it in `dist/`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
import venv
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cephray.checkpoint import checkpoints_in
from cephray.config import Config, dump_config
from cephray.data import write_dataset

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
CHECKOUT = Path(__file__).parents[2]
MARK = "CEPHRAY_TEST_CLUSTER"
COMMAND_S = 240
EVALUATE = f"{sys.executable} -m cephray.cli evaluate --checkpoint $OUTPUT --data $DATA"
MakeConfig = Callable[..., Config]


def page_commands(start: str, runs: str = "") -> list[str]:
    """Return the commands of docs/cluster.md that begin with these words, in order.

    Args:
        start: First words of the command.
        runs: Module that a submitted job runs, to choose by.
    """
    text = (CHECKOUT / "docs/cluster.md").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith(start) and runs in line]


class Cluster:
    """Runs the page's commands from an empty folder; ends what they started, and no more."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder
        self.empty = folder / "empty"
        self.empty.mkdir()
        port, dashboard = _free_ports(2)
        self.mark = uuid.uuid4().hex
        self.disks = Path(f"/tmp/cr-{self.mark[:6]}")  # a socket's path may have 107 characters
        self.disks.mkdir()
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTHON"))},
            "PATH": f"{_node_environment(folder / 'venv')}:{os.environ['PATH']}",
            MARK: self.mark,
            "RAY_AUTH_TOKEN": uuid.uuid4().hex,
            "HEAD": "127.0.0.1",
            "PORT": str(port),
            "DASHBOARD": str(dashboard),
            "NODE_OPTIONS": "--num-cpus=1 --disable-usage-stats --object-store-memory=200000000",
            "WHEEL": str(wheel),
            "DATA": str(folder / "films"),
            "OUTPUT": str(folder / "run"),
            "CONFIG": str(folder / "small.yaml"),
        }
        export = page_commands("export ")[0].removeprefix("export ").split()
        self.environment |= dict(pair.split("=") for pair in export)
        assert self.environment["RAY_AUTH_MODE"] == "token"

    def run(self, command: str, **variables: str) -> str:
        """Run a command; return what it printed."""
        log = self.folder / "output.log"
        with log.open("w") as stream:  # nodes outlive the command: a pipe would never end
            ended = subprocess.run(
                ["bash", "-c", command],
                cwd=self.empty,
                env={**self.environment, **variables},
                stdout=stream,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                timeout=COMMAND_S,
                check=False,
            )
        said = log.read_text(errors="replace")
        assert ended.returncode == 0, f"{command}\n{said}"
        return said

    def submit(self, command: str, job: str, **variables: str) -> None:
        """Submit a job; the head takes jobs some seconds after its start."""
        deadline = time.monotonic() + 120
        while True:
            try:
                self.run(command, JOB=job, **variables)
                return
            except AssertionError as error:
                if "No available agent" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(2)

    def wait(self, job: str, *ends: str, timeout_s: float = 400) -> str:
        """Wait until a job has come to one of these ends; return its log."""
        address = f"--address=http://127.0.0.1:{self.environment['DASHBOARD']}"
        deadline = time.monotonic() + timeout_s
        while True:
            status = self.run(f"ray job status {address} {job}")
            state = re.search(r"\b(SUCCEEDED|FAILED|STOPPED)\b|succeeded|failed|stopped", status)
            if state or time.monotonic() > deadline:
                log = self.run(f"ray job logs {address} {job}")
                assert state, f"{job} has no end after {timeout_s} s:\n{log}"
                assert state.group().upper() in ends, log
                return log
            time.sleep(2)

    def close(self) -> None:
        """End every process that has this cluster's mark in its environment."""
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
            for process in _marked(self.mark):
                with suppress(ProcessLookupError):
                    os.kill(process, number)
            time.sleep(2)
        shutil.rmtree(self.disks, ignore_errors=True)


def _last_epoch(run: Path) -> int:
    """Return the last checkpoint's epoch; 0 where Ray removes an old one at this moment."""
    with suppress(OSError):
        return checkpoints_in(run)[-1].progress.epoch
    return 0


def _marked(mark: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"{MARK}={mark}".encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def _node_environment(folder: Path) -> Path:
    """Make an environment with all of this one's packages but the editable cephray."""
    venv.create(folder, with_pip=False)
    site = next(folder.glob("lib/python*/site-packages"))
    packages = [path for path in sys.path if path.endswith("site-packages")]
    (site / "packages.pth").write_text("\n".join(packages))
    for name, module in (("ray", "ray.scripts.scripts"), ("pip", "pip._internal.cli.main")):
        script = folder / "bin" / name
        script.write_text(
            f"#!{folder / 'bin/python'}\nimport sys\nfrom {module} import main\nsys.exit(main())\n"
        )
        script.chmod(0o755)
    return folder / "bin"


@pytest.fixture(scope="module")
def wheel() -> Path:
    named = os.environ.get("CEPHRAY_WHEEL")
    found = [Path(named)] if named else sorted((CHECKOUT / "dist").glob("cephray-*.whl"))
    if not found:
        pytest.skip("no wheel in dist/: `make wheel` builds it (CEPHRAY_WHEEL names another)")
    return found[-1].resolve()


@pytest.fixture
def cluster(tmp_path: Path, wheel: Path, small_config: MakeConfig) -> Iterator[Cluster]:
    write_dataset(tmp_path / "films", 10, size_px=(192, 240))
    config = small_config("train.epochs=2", "train.wait_for_resources_s=120")
    (tmp_path / "small.yaml").write_text(dump_config(config))
    cluster = Cluster(tmp_path, wheel)
    try:
        for node, command in enumerate(page_commands("ray start")):
            # As on two machines, each node has a disk and ports of its own.
            own = (
                f"{cluster.environment['NODE_OPTIONS']} --temp-dir={cluster.disks}/{node}"
                f" --dashboard-agent-listen-port={_free_ports(1)[0]}"
                " --min-worker-port=0 --max-worker-port=0"
            )
            cluster.run(command, NODE_OPTIONS=own)
        yield cluster
    finally:
        cluster.close()


def test_a_wheel_trains_on_two_nodes_from_an_empty_folder(cluster: Cluster) -> None:
    submit, resume = page_commands("ray job submit", "cephray.cli train")
    cluster.submit(submit, "first")
    log = cluster.wait("first", "SUCCEEDED")
    assert "2 × 1 CPU" in log
    assert "Ray dashboard at http://127.0.0.1:" in log
    run = Path(cluster.environment["OUTPUT"])
    assert [found.progress.epoch for found in checkpoints_in(run)] == [1, 2]

    assert "Sella" in cluster.run(f"{EVALUATE} --split test1")

    # Stopped in the middle of a longer run: what there is can be used.
    cluster.submit(f"{resume} --set train.epochs=500", "second")
    deadline = time.monotonic() + 300
    while _last_epoch(run) < 4:
        assert time.monotonic() < deadline, "the resumed run does not get on"
        time.sleep(1)
    cluster.run(page_commands("ray job stop")[0], JOB="second")
    cluster.wait("second", "STOPPED", "FAILED")
    assert _last_epoch(run) >= 4
    assert "Sella" in cluster.run(f"{EVALUATE} --split test1")


def test_real_films_from_an_empty_folder(cluster: Cluster, shared: Path) -> None:
    output = cluster.folder / "real"
    real = {"DATA": str(shared / "data/isbi2015"), "OUTPUT": str(output)}
    cluster.submit(f"{page_commands('ray job submit')[0]} --set train.epochs=1", "real", **real)
    assert "150 films to train on" in cluster.wait("real", "SUCCEEDED")
    assert "Sella" in cluster.run(f"{EVALUATE} --split test1 --json $OUTPUT/test1.json", **real)


def test_a_search_is_a_job(cluster: Cluster) -> None:
    [submit] = page_commands("ray job submit", "tune.search")
    asked = "--trials 2 --set model.roi_pool_size=5"
    cluster.submit(submit.replace("--trials 16", asked), "search")
    assert "2/2 trials" in cluster.wait("search", "SUCCEEDED")
    output = Path(cluster.environment["OUTPUT"])
    assert len((output / "leaderboard.csv").read_text().splitlines()) == 3
    assert "<html" in (output / "report.html").read_text()


def test_the_job_server_asks_for_the_token(cluster: Cluster) -> None:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    with pytest.raises(HTTPError) as refused:
        urlopen(f"http://127.0.0.1:{cluster.environment['DASHBOARD']}/api/jobs/", timeout=30)
    assert refused.value.code in (401, 403)
    refused.value.close()
