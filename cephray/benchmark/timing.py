"""Measurement and report of all benchmarks: machine, interleaved times, JSON rows.

Subjects of one case take turns, so that a machine that slows down slows all of them down. Knows
nothing of what is measured, and needs NumPy only.
"""

from __future__ import annotations

import concurrent.futures
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cephray.cluster import ask_cards
from cephray.errors import RunError

# Runs once and returns how long one operation took, in seconds.
Subject = Callable[[], float]

OURS = "cephray"
FLOOR = "floor"
IN_GRAPH = ", graph"  # after a subject's name: timed within a captured CUDA graph


@dataclass(frozen=True)
class Row:
    """The times of one subject in one case.

    `peak_bytes` is None if it was not measured. `more` holds what else was measured, by names
    that carry the unit, such as "films_per_s".
    """

    case: Mapping[str, Any]
    subject: str
    direction: str
    median_s: float
    p10_s: float
    p90_s: float
    peak_bytes: int | None
    ratio_to_ours: float
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LeftOut:
    """A subject that was not timed in a case, and why."""

    case: Mapping[str, Any]
    subject: str
    direction: str
    reason: str


def build_subjects(
    makers: Mapping[str, Callable[[], Subject]],
) -> tuple[dict[str, Subject], dict[str, str]]:
    """Build the subjects of one case; leave out those that cannot do it.

    Libraries lack some types on some devices, and a case may not fit into memory. Both are
    facts about a subject, and no reason to end the benchmark. `OURS` is never left out.

    Args:
        makers: builds each subject, by name. A subject that cannot do the case raises
            RuntimeError or MemoryError when it is built or on its first run.

    Returns:
        The subjects that ran once, and the reason for each of the others, both by name.

    Raises:
        RunError: `OURS` cannot do the case.
    """
    subjects: dict[str, Subject] = {}
    reasons: dict[str, str] = {}
    for name, make in makers.items():
        try:
            subject = make()
            subject()
        except (RuntimeError, MemoryError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if name == OURS:
                raise RunError(f"{name} cannot do this case: {reason}") from error
            reasons[name] = reason
        else:
            subjects[name] = subject
    return subjects, reasons


def measure(
    case: Mapping[str, Any],
    direction: str,
    subjects: Mapping[str, Subject],
    seconds: float,
    peak_bytes: Callable[[Subject], int | None] = lambda subject: None,
) -> list[Row]:
    """Time the subjects in turns for about `seconds`, after one turn to warm up and one to size.

    Args:
        case: what the row is about, plain values.
        direction: such as "forward".
        subjects: by name; `OURS` is what the others are compared with.
        seconds: for all subjects together; each gets at least 5 turns and at most 100.
        peak_bytes: runs a subject and returns the memory that it takes at most, or None. (The
            process's own peak does not tell it: TensorFlow keeps what it frees.)

    Returns:
        One row for each subject, in their order.
    """
    for subject in subjects.values():
        subject()
    peaks = {name: peak_bytes(subject) for name, subject in subjects.items()}
    begin = time.perf_counter()
    for subject in subjects.values():
        subject()
    turns = int(np.clip(seconds / (time.perf_counter() - begin), 5, 100))
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(turns):
        for name, subject in subjects.items():
            times[name].append(subject())
    p10, median, p90 = (
        {name: float(np.percentile(t, q)) for name, t in times.items()} for q in (10, 50, 90)
    )
    return [
        Row(
            case=case,
            subject=name,
            direction=direction,
            median_s=median[name],
            p10_s=p10[name],
            p90_s=p90[name],
            peak_bytes=peaks[name],
            ratio_to_ours=median[name] / median[OURS],
        )
        for name in subjects
    ]


def copying(
    byte_count: int, threads: int, repeats: int, source_bytes: int = 0, target_bytes: int = 0
) -> Subject:
    """Return a subject that moves `byte_count` bytes: it copies half of them, on all threads.

    Each repetition goes on where the last one ended in a source and a target of the given sizes,
    or at least of what is copied: a copy of the same few bytes would measure the caches.
    """
    size = max(byte_count // 2, threads)
    source = np.ones(max(source_bytes, size), np.uint8)
    target = np.zeros(max(target_bytes, size), np.uint8)
    edges = np.linspace(0, size, threads + 1).astype(int)
    pool = concurrent.futures.ThreadPoolExecutor(threads)

    def copy(part: int) -> None:
        for i in range(repeats):
            to, start = (i * size % (len(block) - size + 1) for block in (target, source))
            low, high = edges[part], edges[part + 1]
            np.copyto(target[to + low : to + high], source[start + low : start + high])

    def run() -> float:
        begin = time.perf_counter()
        list(pool.map(copy, range(threads)))
        return (time.perf_counter() - begin) / repeats

    return run


def cpu_count() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_facts(packages: Sequence[str]) -> dict[str, Any]:
    """Describe the machine and the versions that the times belong to."""
    byte_count = 512 << 20
    copy = copying(byte_count, cpu_count(), 1)
    copy()
    return {
        "processor": _processor(),
        "cpus": cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "copy_bytes_per_s": byte_count / float(np.median([copy() for _ in range(7)])),
        "gpu": ask_cards("name,driver_version"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def write_json(
    path: Path,
    machine: Mapping[str, Any],
    rows: Sequence[Row],
    left_out: Sequence[LeftOut] = (),
) -> None:
    """Write `{"machine": …, "rows": […], "left_out": […]}`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": dict(machine),
        "rows": [vars(row) for row in rows],
        "left_out": [vars(one) for one in left_out],
    }
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def format_rows(rows: Sequence[Row], left_out: Sequence[LeftOut] = ()) -> str:
    """Format the rows as a table, a block for each case and direction.

    Args:
        rows: of one or more cases.
        left_out: subjects that the last case does without, listed below its rows.
    """
    lines = []
    shown: Mapping[str, Any] | None = None
    for row in rows:
        if row.case != shown:
            shown = row.case
            lines += [
                "",
                " ".join(f"{key}={value}" for key, value in shown.items()),
                f"{'':<24} {'median':>10} {'p10':>9} {'p90':>9} {'peak':>9} {'ratio':>7}",
            ]
        peak = "–" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.1f}MiB"
        times = " ".join(f"{1e3 * t:9.3f}" for t in (row.p10_s, row.p90_s))
        lines.append(
            f"{row.subject:<14} {row.direction:<9} {1e3 * row.median_s:8.3f}ms {times} {peak:>9}"
            f" {row.ratio_to_ours:7.2f}"
            + "".join(f"  {name}={_short(value)}" for name, value in row.more.items())
        )
    lines += [f"{one.subject:<14} {one.direction:<9} left out: {one.reason}" for one in left_out]
    return "\n".join(lines)


def _short(value: Any) -> str:
    """Write numbers with four digits, and None as a dash."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "–" if value is None else str(value)
