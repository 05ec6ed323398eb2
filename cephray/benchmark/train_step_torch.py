"""PyTorch's ResNet50 as a subject of the training step's benchmark, by another Python.

The other Python, which has PyTorch, runs `pytorch/resnet50.py`. This file knows how to start it
and what it answers, and needs no PyTorch.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cephray.benchmark.train_step_cases import Case
from cephray.benchmark.train_step_process import GPU_SECONDS, QUEUED, Measured, Timed

PYTHON = "CEPHRAY_TORCH_PYTHON"  # environment variable with the path of the other Python
SCRIPT = Path(__file__).parent / "pytorch" / "resnet50.py"
LONGEST_S = 900.0  # compilation included


def run_pytorch(
    case: Case, environment: Mapping[str, str] = os.environ, longest_s: float = LONGEST_S
) -> Measured:
    """Time forward and backward pass of PyTorch's ResNet50 on a case's input.

    Args:
        case: batch, size and precision are taken.
        environment: CEPHRAY_TORCH_PYTHON is the path of a Python with PyTorch and torchvision.
            Without it, this Python is taken if it has them.
        longest_s: seconds after which the other Python is killed.

    Raises:
        RuntimeError: nothing was measured; the message is the reason, in one line.
    """
    python = environment.get(PYTHON)
    if not python:
        missing = [n for n in ("torch", "torchvision") if importlib.util.find_spec(n) is None]
        if missing:
            raise RuntimeError(
                f"no {' and no '.join(missing)} in this Python; {PYTHON} names one that has both"
            )
        python = sys.executable
    order = {
        "batch": case.batch,
        "height": case.height,
        "width": case.width,
        "half": case.precision == "mixed_bfloat16",
        "seconds": GPU_SECONDS,
        "queued": QUEUED,
    }
    answer = _ask([python, str(SCRIPT), json.dumps(order)], environment, longest_s)
    if "reason" in answer:
        raise RuntimeError(answer["reason"])
    for name in ("step", "queued"):
        answer[name] = Timed(**answer[name])
    return Measured(**answer)


def _ask(command: list[str], environment: Mapping[str, str], longest_s: float) -> dict[str, Any]:
    """Run a command and return the JSON object in the last line of its output."""
    python = command[0]
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # with the processes that compile for it
        )
    except OSError as error:
        raise RuntimeError(f"{python} cannot be started: {error.strerror} ({PYTHON})") from error
    try:
        output, messages = process.communicate(timeout=longest_s)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{python} did not answer within {longest_s:g} s") from error
    finally:
        if process.returncode is None:  # Ctrl-C reaches this process only
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode != 0:
        last = (messages.strip().splitlines() or ["it said nothing"])[-1]
        raise RuntimeError(f"{python} ended with code {process.returncode}: {last}")
    try:
        answer = json.loads(output.strip().splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        answer = None
    if not isinstance(answer, dict):
        raise RuntimeError(f"{python} did not answer in JSON")
    return answer
