"""PyTorch's subject, with small programs in the place of the Python that has PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cephray.benchmark.train_step_cases import Case
from cephray.benchmark.train_step_process import Timed
from cephray.benchmark.train_step_torch import PYTHON, SCRIPT, run_pytorch

CASE = Case(height=64, width=32, batch=3, precision="mixed_bfloat16", device="gpu")
TIMED = {"times_s": [0.2, 0.1], "began_s": 1.0, "ended_s": 2.0}
ANSWER = {
    "step": TIMED,
    "queued": TIMED,
    "peak_bytes": 5,
    "parameters": 7,
    "first_step_s": 9.0,
    "facts": {"torch": "2"},
}


def fake_python(folder: Path, text: str) -> dict[str, str]:
    """Write a shell script; return the environment that names it as the other Python."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return {PYTHON: str(program), "PATH": "/usr/bin:/bin"}


def test_the_answer_is_what_was_measured(tmp_path: Path) -> None:
    text = f"""
printf '%s\\n' "$@" > {tmp_path}/words
echo a line of a library
echo '{json.dumps(ANSWER)}'
"""
    measured = run_pytorch(CASE, fake_python(tmp_path, text))
    assert measured.step == measured.queued == Timed([0.2, 0.1], 1.0, 2.0)
    assert (measured.peak_bytes, measured.parameters, measured.first_step_s) == (5, 7, 9.0)
    assert measured.facts == {"torch": "2"}
    script, order = (tmp_path / "words").read_text().splitlines()
    assert Path(script) == SCRIPT
    order = json.loads(order)
    assert {k: order[k] for k in ("batch", "height", "width", "half")} == {
        "batch": 3,
        "height": 64,
        "width": 32,
        "half": True,
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("""echo '{"reason": "OutOfMemoryError: CUDA out of memory."}'""", "^OutOfMemoryError: "),
        (
            "echo first >&2; echo no such library >&2; exit 3",
            "ended with code 3: no such library$",
        ),
        ("exit 1", "ended with code 1: it said nothing$"),
        ("echo hello", "python did not answer in JSON$"),
        ("echo 5", "python did not answer in JSON$"),
        ("true", "python did not answer in JSON$"),
    ],
    ids=["a reason", "a failure", "a silent failure", "no JSON", "no object", "nothing"],
)
def test_without_times_there_is_a_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(RuntimeError, match=reason):
        run_pytorch(CASE, fake_python(tmp_path, text))


def test_a_python_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    """The child holds the output open: waiting for it would take a minute."""
    text = f"sleep 60 & echo $! > {tmp_path}/child; wait"
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=r"python did not answer within 0\.5 s"):
        run_pytorch(CASE, fake_python(tmp_path, text), longest_s=0.5)
    assert time.monotonic() - began < 30
    child = (tmp_path / "child").read_text().strip()
    status = Path(f"/proc/{child}/stat")
    assert not status.exists() or status.read_text().split()[2] == "Z"


def test_a_python_that_is_not_there() -> None:
    with pytest.raises(RuntimeError, match=f"^/no/python cannot be started: .*{PYTHON}"):
        run_pytorch(CASE, {PYTHON: "/no/python"})


def test_this_python_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=f"^no torch and no torchvision .*{PYTHON} names one"):
        run_pytorch(CASE, {})


def test_the_program_without_pytorch_says_so(tmp_path: Path) -> None:
    """It runs alone, in a Python that has neither cephray nor PyTorch."""
    order = {"batch": 1, "height": 64, "width": 64, "half": True, "seconds": 0.1, "queued": 2}
    command = [sys.executable, "-S", str(SCRIPT), json.dumps(order)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={}, timeout=60, check=True, cwd=tmp_path
    )
    assert json.loads(done.stdout)["reason"].endswith("No module named 'torch'")


@pytest.mark.gpu
def test_pytorch_on_a_gpu() -> None:
    torch = pytest.importorskip("torch", reason="no PyTorch in this Python")
    pytest.importorskip("torchvision", reason="no torchvision in this Python")
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU that PyTorch can use")
    measured = run_pytorch(CASE)
    assert measured.parameters == 23_508_032
    assert min(measured.step.times_s) > 0
    assert measured.peak_bytes is not None
    assert measured.peak_bytes > 4 * measured.parameters
