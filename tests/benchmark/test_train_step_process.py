"""One subject in its process: times of single and of queued steps, memory, errors."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest
import tensorflow as tf

from cephray.benchmark import train_step_process as process
from cephray.benchmark.train_step import in_own_process
from cephray.benchmark.train_step_cases import BACKBONE, BOUND, Case, preset_case

SMALL = Case("resnet18", 64, 64)


class Result:
    """Counts how often it is read."""

    def __init__(self) -> None:
        self.launched = self.read = 0

    def launch(self) -> Result:
        self.launched += 1
        return self

    def numpy(self) -> None:
        self.read += 1


@pytest.mark.parametrize("queued", [1, 4])
def test_steps_are_timed_at_least_three_times(queued: int) -> None:
    result = Result()
    timed = process.time_steps(result.launch, 0.0, queued)
    assert len(timed.times_s) == result.read == 3
    assert result.launched == 3 * queued
    assert timed.began_s <= timed.ended_s


def test_times_are_those_of_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: 10.0 * next(clock))
    timed = process.time_steps(Result().launch, 35.0, queued=5)
    assert timed.times_s == [2.0] * 4  # each turn of five steps takes 10 s


def test_the_limit_of_memory_is_for_the_cpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(name: str, case: Case) -> process.Measured:
        raise RuntimeError("measured")

    limited: list[bool] = []
    monkeypatch.setattr(process, "_limit_memory", lambda: limited.append(True))
    monkeypatch.setattr(process, "_measure", measure)
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    for device in ("cpu", "gpu"):
        with pytest.raises(RuntimeError, match="measured"):
            process.run_subject(BACKBONE, replace(SMALL, device=device))
    assert limited == [True]
    assert os.environ.pop("TF_FORCE_GPU_ALLOW_GROWTH") == "true"


@pytest.mark.parametrize(
    ("error", "wanted", "message"),
    [
        (tf.errors.ResourceExhaustedError, MemoryError, "^out of memory$"),
        (tf.errors.InternalError, RuntimeError, "^no such kernel$"),
    ],
)
def test_tensorflows_errors_become_pythons(
    error: Callable[..., Exception],
    wanted: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measure(name: str, case: Case) -> process.Measured:
        raise error(None, None, "no such kernel\nand more")

    monkeypatch.setattr(process, "_limit_memory", lambda: None)
    monkeypatch.setattr(process, "_measure", measure)
    with pytest.raises(wanted, match=message):
        process.run_subject(BACKBONE, SMALL)


def run_quickly(name: str, case: Case) -> process.Measured:
    process.SECONDS = process.GPU_SECONDS = 0.1
    return process.run_subject(name, case)


def test_a_subject_on_a_cpu() -> None:
    measured = in_own_process(run_quickly, BACKBONE, SMALL)
    assert min(measured.step.times_s) > 0
    assert measured.queued is None
    assert measured.parameters == 11_176_512
    assert measured.peak_bytes is not None
    assert measured.first_step_s is not None
    assert measured.peak_bytes > 4 * measured.parameters
    assert measured.first_step_s > min(measured.step.times_s)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_subject_on_a_gpu(precision: str) -> None:
    if not tf.config.list_physical_devices("GPU"):
        pytest.skip("no NVIDIA GPU that TensorFlow can use")
    case = replace(SMALL, device="gpu", batch=2, precision=precision)
    measured = in_own_process(run_quickly, BACKBONE, case)
    assert measured.queued is not None
    # Which of the two is shorter depends on what else the machine does.
    assert min(measured.step.times_s) > 0
    assert min(measured.queued.times_s) > 0
    assert measured.facts == {"xla": True}
    bound = in_own_process(run_quickly, BOUND, preset_case("best", 8))
    assert bound.step.times_s[0] > 0
    assert set(bound.facts) >= {"operations", "byte_count"}
    assert asdict(bound)["first_step_s"] is None
