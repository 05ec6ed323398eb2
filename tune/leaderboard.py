"""The trials of a study, the best first, and the files `leaderboard.csv` and `best.yaml`.

It reads the study, and draws nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from cephray.config import dump_config
from cephray.storage import replace_text
from tune.objectives import Objective
from tune.outcome import EPOCHS, MEMORY, PARAMETERS, REASON, SECONDS
from tune.settings import Settings
from tune.space import Value, applied
from tune.study import best_trials, ended_trials

LEADERBOARD, BEST = "leaderboard.csv", "best.yaml"
FINISHED, PRUNED, FAILED = "finished", "pruned", "failed"
_STATES = {TrialState.COMPLETE: FINISHED, TrialState.PRUNED: PRUNED, TrialState.FAIL: FAILED}


@dataclass(frozen=True)
class Entry:
    """One trial that ended.

    `figures` are the objectives; of a pruned trial, the error that it had reached. `curve` is the
    least error up to each epoch, with one objective.
    """

    trial: int
    state: str
    is_best: bool
    figures: tuple[float, ...]
    curve: dict[int, float]
    epochs: int | None
    seconds_per_epoch: float | None
    memory_gb: float | None
    parameters: int | None
    values: dict[str, Value]
    reason: str

    def row(self, objectives: Sequence[Objective]) -> dict[str, Any]:
        """Return the columns of the CSV file."""
        keys = [objective.key for objective in objectives]
        figures = dict(zip(keys, self.figures, strict=False))
        return {
            "trial": self.trial,
            "state": self.state,
            "best": "yes" if self.is_best else "",
            **{key: figures.get(key, "") for key in keys},
            EPOCHS: self.epochs,
            SECONDS: self.seconds_per_epoch,
            MEMORY: self.memory_gb,
            PARAMETERS: self.parameters,
            **self.values,
            REASON: self.reason,
        }


def leaderboard(study: optuna.Study) -> list[Entry]:
    """List the trials that ended: finished ones by their error, then pruned ones, then failed.

    With one objective one of them is the best, with two all that are on the Pareto front.
    """
    best = {trial.number for trial in best_trials(study)}
    order = list(_STATES.values())
    entries = [entry_of(trial, trial.number in best) for trial in ended_trials(study)]
    return sorted(entries, key=lambda e: (order.index(e.state), e.figures, e.trial))


def entry_of(trial: FrozenTrial, is_best: bool = False) -> Entry:
    """Return the entry of a trial that ended."""
    curve, facts = dict(sorted(trial.intermediate_values.items())), trial.user_attrs
    figures = tuple(trial.values or ())
    if trial.state == TrialState.PRUNED:
        figures = tuple(curve.values())[-1:]
    return Entry(
        trial.number,
        _STATES[trial.state],
        is_best,
        figures,
        curve,
        facts.get(EPOCHS),
        facts.get(SECONDS),
        facts.get(MEMORY),
        facts.get(PARAMETERS),
        dict(trial.params),
        facts.get(REASON, ""),
    )


def write_results(settings: Settings, study: optuna.Study) -> list[Entry]:
    """Write the leaderboard and, once a trial has finished, `best.yaml`; return the entries.

    Raises:
        OSError: a file could not be written; what was there before is still there.
    """
    entries = leaderboard(study)
    if entries:
        table = io.StringIO(newline="")
        rows = [entry.row(settings.objectives) for entry in entries]
        columns = dict.fromkeys(name for row in rows for name in row)
        writer = csv.DictWriter(table, fieldnames=list(columns), restval="")
        writer.writeheader()
        writer.writerows(rows)
        replace_text(settings.output / LEADERBOARD, table.getvalue())
    best = best_trials(study)
    if best:
        config = applied(best[0].params, settings.base)
        replace_text(settings.output / BEST, dump_config(config))
    return entries
