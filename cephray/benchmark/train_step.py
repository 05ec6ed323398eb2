"""`cephray benchmark train-step`: our step against its parts, and against head by head.

Each subject runs in a process of its own, one after another, which tells its peak memory apart
from the others'. The parts are the backbone's forward and backward pass and the optimiser's
update of as many parameters; `head by head` is the network as published, features anew for each
head. It knows the cases and the report, and no TensorFlow.
"""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cephray.benchmark.timing import OURS, Row, format_rows, machine_facts, write_json
from cephray.benchmark.train_step_cases import (
    BACKBONE,
    HEAD_BY_HEAD,
    SIZES,
    UPDATE,
    Case,
    full_cases,
    quick_cases,
)
from cephray.errors import RunError
from cephray.progress import quiet_stderr

PACKAGES = ("cephray", "tensorflow", "keras", "numpy")
PARTS = (BACKBONE, UPDATE)
SECONDS = 15.0  # of one subject
# Twenty passes at the larger size take more memory than machines have that train one film.
HEAD_BY_HEAD_SIZE = SIZES[0]


@dataclass(frozen=True)
class Measured:
    """Times, memory and parameters of a subject."""

    times_s: list[float]
    peak_bytes: int
    parameters: int


def run(
    full: bool = False, json_path: Path | None = None, show: Callable[[str], None] = print
) -> list[Row]:
    """Time every subject of every case; show a table, write the JSON file where asked for.

    Args:
        full: every backbone at both sizes, instead of ResNet50 at 416 × 320.
        json_path: file to write, or None.
        show: takes the table a block at a time, and a line for each subject that had no memory.

    Raises:
        RunError: our own step ran out of memory in every case.
    """
    machine = machine_facts(PACKAGES)
    rows: list[Row] = []
    for case in full_cases() if full else quick_cases():
        block = _measure(case, show)
        rows += block
        if block:
            show(format_rows(block))
            show(_summary(block))
    if not rows:
        raise RunError("no case fits into this machine's memory")
    if json_path is not None:
        write_json(json_path, machine, rows)
        show(f"rows in {json_path}")
    return rows


def _measure(case: Case, show: Callable[[str], None]) -> list[Row]:
    names: tuple[str, ...] = (OURS, *PARTS)
    if (case.height, case.width) == HEAD_BY_HEAD_SIZE:
        names += (HEAD_BY_HEAD,)
    results: dict[str, Measured] = {}
    for name in names:
        try:
            results[name] = _in_own_process(name, case)
        except (BrokenProcessPool, MemoryError):
            show(f"{name}, {case.backbone} at {case.height} × {case.width}: out of memory")
            if name == OURS:
                return []
    ours = float(np.median(results[OURS].times_s))
    facts = vars(case) | {"batch": 1, "parameters": results[OURS].parameters}
    return [
        Row(
            case=facts,
            subject=name,
            direction="step",
            median_s=float(np.median(result.times_s)),
            p10_s=float(np.percentile(result.times_s, 10)),
            p90_s=float(np.percentile(result.times_s, 90)),
            peak_bytes=result.peak_bytes,
            ratio_to_ours=float(np.median(result.times_s)) / ours,
        )
        for name, result in results.items()
    ]


def _in_own_process(name: str, case: Case) -> Measured:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_subject, name, case).result()


def _subject(name: str, case: Case) -> Measured:
    """Run in the subject's process: build it, time it, read the process's peak."""
    _limit_memory()
    with quiet_stderr():
        from cephray.benchmark.train_step_subjects import build_step, time_steps

        step, parameters = build_step(name, case.config)
    times_s = time_steps(step, SECONDS)
    # Not getrusage's peak, in which the process that was forked counts as well.
    return Measured(times_s, _kibibytes("/proc/self/status", "VmHWM") * 1024, parameters)


def _limit_memory() -> None:
    """Limit the memory of this process, so that it fails instead of another one."""
    limit = int(_kibibytes("/proc/meminfo", "MemAvailable") * 1024 * 0.95)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _kibibytes(path: str, key: str) -> int:
    for line in Path(path).read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise RunError(f"{path} does not tell {key}: this benchmark runs on Linux")


def _summary(rows: Sequence[Row]) -> str:
    """Return a line with the step's time relative to its parts, and to the published way."""
    by_name: dict[str, Any] = {row.subject: row for row in rows}
    ours = by_name[OURS]
    parts = sum(by_name[name].median_s for name in PARTS if name in by_name)
    text = f"our step takes {ours.median_s / parts:.2f} × its backbone and update"
    if HEAD_BY_HEAD in by_name:
        other = by_name[HEAD_BY_HEAD]
        text += (
            f"; head by head {other.ratio_to_ours:.1f} × ours, "
            f"{other.peak_bytes / ours.peak_bytes:.1f} × its memory"
        )
    return text
