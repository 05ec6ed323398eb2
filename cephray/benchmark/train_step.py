"""`cephray benchmark train-step`: our step against its parts, and against others.

Each subject runs in a process of its own, one after another, which tells its peak memory apart
from the others'. The parts are the backbone's forward and backward pass and the optimiser's
update of as many parameters. On a CPU, `head by head` is the network as published, features anew
for each head. Where TensorFlow sees a GPU, the cases are for it: PyTorch's ResNet50 is a subject,
and `bound` is the least time that the card allows (train_step_bound.py). A subject that cannot do
a case is left out of it, and the table and the JSON file name it with the reason. This file knows
the report, and no TensorFlow.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cephray.benchmark.card import CardBusy
from cephray.benchmark.timing import (
    OURS,
    LeftOut,
    Row,
    format_rows,
    machine_facts,
    write_json,
)
from cephray.benchmark.train_step_cases import (
    BACKBONE,
    BOUND,
    HEAD_BY_HEAD,
    PARTS,
    PYTORCH,
    Case,
    full_cases,
    quick_cases,
)
from cephray.benchmark.train_step_process import Measured, has_gpu, run_subject
from cephray.benchmark.train_step_torch import run_pytorch
from cephray.errors import RunError

T = TypeVar("T")

PACKAGES = ("cephray", "tensorflow", "keras", "numpy")
STEP, QUEUED = "step", "queued"


def run(
    full: bool = False, json_path: Path | None = None, show: Callable[[str], None] = print
) -> list[Row]:
    """Time every subject of every case; show a table, write the JSON file where asked for.

    Args:
        full: every case of `full_cases`, instead of those of `quick_cases`.
        json_path: file to write, or None.
        show: takes the table a block at a time, and lines about compilation.

    Raises:
        RunError: our own step cannot do any case; for lack of memory, for example.
    """
    machine = machine_facts(PACKAGES)
    rows: list[Row] = []
    left_out: list[LeftOut] = []
    for case in (full_cases if full else quick_cases)(in_own_process(has_gpu)):
        block, missing = _measure(case, show)
        rows += block
        left_out += missing
        show(format_rows(block, missing))
        if block:
            show(_summary(block))
    if not rows:
        raise RunError(f"{OURS} cannot do any case; the last reason: {left_out[-1].reason}")
    if json_path is not None:
        write_json(json_path, machine, rows, left_out)
        show(f"rows in {json_path}")
    return rows


def in_own_process(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a process of its own, and end the process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def _measure(case: Case, show: Callable[[str], None]) -> tuple[list[Row], list[LeftOut]]:
    """Measure the subjects of a case; if our own cannot do it, none of the others."""
    results: dict[str, Measured] = {}
    left_out: list[LeftOut] = []
    with CardBusy() if case.device == "gpu" else nullcontext() as card:
        for name in case.subjects:
            reason = case.reason_without(name)
            if reason is None:
                try:
                    results[name] = _run(name, case)
                except (BrokenProcessPool, MemoryError):
                    reason = "out of memory"
                except RuntimeError as error:
                    reason = str(error)
            if reason is not None:
                left_out.append(LeftOut(asdict(case), name, STEP, reason))
                if name == OURS:
                    return [], left_out
    for name, result in results.items():
        for line in result.lines:
            show(f"{name}: {line}")
    return _rows(case, results, card), left_out


def _run(name: str, case: Case) -> Measured:
    return run_pytorch(case) if name == PYTORCH else in_own_process(run_subject, name, case)


def _rows(case: Case, results: Mapping[str, Measured], card: CardBusy | None) -> list[Row]:
    """Return a row for each way to wait and each subject.

    Args:
        case: that was measured.
        results: by subject, `OURS` among them.
        card: was entered while the subjects were timed; None on a CPU.
    """
    facts = asdict(case) | {"parameters": results[OURS].parameters}
    rows = []
    for direction in (STEP, QUEUED):
        timed = {name: getattr(result, direction) for name, result in results.items()}
        if timed[OURS] is None:
            continue
        ours_s = float(np.median(timed[OURS].times_s))
        for name, result in results.items():
            times_s = timed[name].times_s
            p10_s, median_s, p90_s = (float(np.percentile(times_s, q)) for q in (10, 50, 90))
            more: dict[str, Any] = {"films_per_s": case.batch / median_s}
            if card is not None:
                more["busy_percent"] = card.percent(timed[name].began_s, timed[name].ended_s)
            if direction == STEP:
                more |= {"first_step_s": result.first_step_s, **result.facts}
            rows.append(
                Row(
                    case=facts,
                    subject=name,
                    direction=direction,
                    median_s=median_s,
                    p10_s=p10_s,
                    p90_s=p90_s,
                    peak_bytes=result.peak_bytes,
                    ratio_to_ours=median_s / ours_s,
                    more=more,
                )
            )
    return rows


def _summary(rows: Sequence[Row]) -> str:
    """Return a line with the step's time relative to its parts, and to the other subjects.

    Where steps were queued, their times are taken.
    """
    by_name = {row.subject: row for row in rows}  # the last of a name: queued, if there is one
    ours = by_name[OURS]
    parts_s = sum(by_name[name].median_s for name in PARTS if name in by_name)
    text = f"our step takes {ours.median_s / parts_s:.2f} × its backbone and update"
    if HEAD_BY_HEAD in by_name:
        other = by_name[HEAD_BY_HEAD]
        assert other.peak_bytes is not None
        assert ours.peak_bytes is not None
        text += (
            f"; head by head {other.ratio_to_ours:.1f} × ours, "
            f"{other.peak_bytes / ours.peak_bytes:.1f} × its memory"
        )
    if BOUND in by_name:
        text += f", {ours.median_s / by_name[BOUND].median_s:.1f} × the bound"
    if PYTORCH in by_name and BACKBONE in by_name:
        ratio = by_name[BACKBONE].median_s / by_name[PYTORCH].median_s
        text += f"; its backbone {ratio:.2f} × PyTorch's"
    return text
