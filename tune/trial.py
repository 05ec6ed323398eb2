"""One trial: a run of `cephray train` in its own process.

Its rows go to Ray Tune as they come; its last report says how it ended. It never raises: a trial
that fails is a result of the search. It knows no study.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import ray.tune

from cephray.checkpoint import CONFIG_FILE, Checkpoint, Row
from cephray.config import Config
from cephray.data import KnownCopies
from cephray.storage import Place
from cephray.training import launch, plan_run
from tune.objectives import MRE, SECOND, Second, count_parameters, measure_latency
from tune.outcome import (
    COMPLETE,
    EPOCH,
    FAILED,
    MEMORY,
    OUTCOME,
    PARAMETERS,
    REASON,
    SECONDS,
    trial_folder,
)
from tune.settings import COPIES
from tune.space import Value, applied


@dataclass(frozen=True)
class Setting:
    """Settings that all trials of a search share.

    Args:
        data: folder of the data set, on a path that all nodes share, or in an object store.
        output: folder of the search, which all nodes share.
        base: configuration that a trial's values replace those of.
        second: second objective, or None.
    """

    data: Place
    output: Path
    base: Config
    second: Second | None = None


def run_trial(choice: Mapping[str, Any], setting: Setting) -> None:
    """Run one trial, or what is left of it; what Ray Tune calls.

    Args:
        choice: number of the trial, and its values by config key.
        setting: of the search.
    """
    try:
        last = _train(trial_folder(setting.output, choice["number"]), choice["values"], setting)
    except Exception as error:
        last = {OUTCOME: FAILED, REASON: describe(error)}
    ray.tune.report(last)


def describe(error: BaseException) -> str:
    """Boil an error down to one line."""
    text = " ".join(str(error).split())
    named = type(error).__module__.startswith("cephray")
    return text if named and text else f"{type(error).__name__}: {text or 'no message'}"


def train_in(
    folder: Path,
    config: Config,
    data: Place,
    known: KnownCopies,
    on_row: Callable[[Row], None] = lambda row: None,
) -> Checkpoint:
    """Train in a folder, or what is left to train there.

    Args:
        folder: of the run.
        config: of the run.
        data: the data set.
        known: copies among its films.
        on_row: takes the row of each epoch, those of earlier tries first.

    Returns:
        The best checkpoint.
    """
    if folder.exists() and not (folder / CONFIG_FILE).is_file():
        shutil.rmtree(folder)  # killed before it began
    plan = plan_run(data, folder, config, folder.exists(), _silent, known)
    for row in plan.last.progress.history if plan.last else ():
        on_row(row)
    return launch(plan, show=_silent, on_row=on_row)


def _train(folder: Path, values: Mapping[str, Value], setting: Setting) -> dict[str, Any]:
    rows: list[Row] = []

    def take(row: Row) -> None:
        rows.append(row)
        best = min(taken["score"] for taken in rows)
        ray.tune.report({EPOCH: int(row["epoch"]), MRE.key: best, **_costs(rows)})

    config = applied(values, setting.base)
    known = KnownCopies.load(setting.output / COPIES)
    best = train_in(folder, config, setting.data, known, take)
    mre_mm = best.progress.score
    if not math.isfinite(mre_mm):
        return {OUTCOME: FAILED, REASON: f"the validation MRE is {mre_mm}"}
    last = {
        OUTCOME: COMPLETE,
        EPOCH: int(rows[-1]["epoch"]),
        MRE.key: mre_mm,
        PARAMETERS: count_parameters(best),
        **_costs(rows),
    }
    if setting.second == "latency":
        last[SECOND["latency"].key] = measure_latency(best)
    return last


def _costs(rows: list[Row]) -> dict[str, float]:
    return {
        SECONDS: median(row["seconds"] for row in rows),
        MEMORY: max(row["memory_gb"] for row in rows),
    }


def _silent(line: str) -> None:
    """Take what a run has to say: its history has it all."""
