"""One subject of the training step's benchmark in the process that it has to itself.

It knows how a subject is timed and where its memory is read, and no table of results.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cephray.benchmark.train_step_cases import BOUND, Case
from cephray.errors import RunError
from cephray.progress import import_tensorflow, quiet_stderr
from cephray.training import set_xla_flags

SECONDS = 15.0  # of one subject on a CPU
GPU_SECONDS = 6.0  # of one subject on a GPU, for each way to wait
QUEUED = 8  # steps that are started before the last one's result is read


@dataclass(frozen=True)
class Timed:
    """Times of a step, seconds, and when they were taken, by `time.time()`."""

    times_s: list[float]
    began_s: float
    ended_s: float


@dataclass(frozen=True)
class Measured:
    """What was measured of a subject.

    Args:
        step: from the call to the result.
        queued: with several steps started before the last one's result is read. None on a CPU,
            which takes a step while it is called.
        peak_bytes: on a CPU of the process, on a GPU of the steps that were timed. None for the
            bound, as is `first_step_s`.
        parameters: number of parameters that a step trains.
        first_step_s: duration of the first step, tracing and compilation included.
        facts: what else there is to know, by name.
        lines: what was said about compilation.
    """

    step: Timed
    queued: Timed | None
    peak_bytes: int | None
    parameters: int
    first_step_s: float | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


def has_gpu() -> bool:
    """Return whether TensorFlow sees a GPU. It may take the card: call it in another process."""
    with quiet_stderr():
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))


def run_subject(name: str, case: Case) -> Measured:
    """Build a subject, time it and read its peak, in a process that does nothing else.

    Raises:
        MemoryError: there is not enough.
        RuntimeError: TensorFlow cannot do the case.
    """
    if case.device == "cpu":
        _limit_memory()  # on a GPU, CUDA reserves far more addresses than it uses
    else:
        set_xla_flags(case.deterministic)
    import_tensorflow()
    import tensorflow as tf

    if case.deterministic:
        tf.config.experimental.enable_op_determinism()
    try:
        return _bound(case) if name == BOUND else _measure(name, case)
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError("out of memory") from error
    except tf.errors.OpError as error:
        raise RuntimeError((error.message.strip().splitlines() or ["unknown"])[0]) from error


def time_steps(launch: Callable[[], Any], seconds: float, queued: int = 1) -> Timed:
    """Time steps for about `seconds`, at least three times.

    Args:
        launch: starts a step; the step has ended when what it returns can be read.
        seconds: for all steps.
        queued: steps that are started before the last one's result is read.
    """
    times: list[float] = []
    began_s = time.time()
    while sum(times) * queued < seconds or len(times) < 3:
        begin = time.perf_counter()
        for _ in range(queued):
            result = launch()
        result.numpy()
        times.append((time.perf_counter() - begin) / queued)
    return Timed(times, began_s, time.time())


def _measure(name: str, case: Case) -> Measured:
    lines: list[str] = []
    with quiet_stderr():
        from cephray.benchmark.train_step_subjects import build_step

        built = build_step(name, case.config, lines.append)
    begin = time.perf_counter()
    built.launch().numpy()
    first_step_s = time.perf_counter() - begin
    built.launch().numpy()
    facts: dict[str, Any] = {}
    if case.device == "cpu":
        step, queued = time_steps(built.launch, SECONDS), None
        # Not getrusage's peak, in which the process that was forked counts as well.
        peak_bytes = _kibibytes("/proc/self/status", "VmHWM") * 1024
    else:
        import tensorflow as tf

        tf.config.experimental.reset_memory_stats("GPU:0")
        step = time_steps(built.launch, GPU_SECONDS)
        queued = time_steps(built.launch, GPU_SECONDS, QUEUED)
        peak_bytes = int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
        facts["xla"] = built.uses_xla()
    return Measured(step, queued, peak_bytes, built.parameters, first_step_s, facts, tuple(lines))


def _bound(case: Case) -> Measured:
    """Return the bound as the time of each step."""
    with quiet_stderr():
        from cephray.benchmark.train_step_subjects import bound_of

        bound, parameters = bound_of(case.config)
    timed = Timed([bound.seconds], time.time(), time.time())
    return Measured(timed, timed, None, parameters, None, asdict(bound))


def _limit_memory() -> None:
    """Limit the memory of this process, so that it fails instead of another one."""
    limit = int(_kibibytes("/proc/meminfo", "MemAvailable") * 1024 * 0.95)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _kibibytes(path: str, key: str) -> int:
    for line in Path(path).read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise RunError(f"{path} does not tell {key}: this benchmark runs on Linux")
