"""How important each searched key is, with its uncertainty.

Source: Watanabe et al., PED-ANOVA: Efficiently quantifying hyperparameter importance in arbitrary
subspaces, IJCAI 2023, as Optuna has it. The uncertainty is that of a bootstrap over trials.

PED-ANOVA compares the values of the best trials with those of all. Optuna would leave out pruned
trials, and with them the values that are so bad that no trial with them finishes. Here they count,
with the error that they had reached.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from tune.leaderboard import entry_of
from tune.study import trials_in_state

LEVEL_PERCENT = 80.0
_RESAMPLES = 40
_SEED = 0


@dataclass(frozen=True)
class Importance:
    """The share of one key in what makes a figure low.

    Args:
        key: key of the configuration.
        share: of all trials, from 0 to 1. The shares of all keys add up to 1.
        low, high: interval of `LEVEL_PERCENT` over resampled trials.
    """

    key: str
    share: float
    low: float
    high: float


def importances_of(study: optuna.Study, index: int = 0) -> list[Importance]:
    """Compute the importance of each key, the most important first.

    Args:
        study: of the search, with at least two finished trials.
        index: which of the objectives is meant.
    """
    trials = [
        *trials_in_state(study, TrialState.COMPLETE),
        *(
            _as_finished(trial)
            for trial in trials_in_state(study, TrialState.PRUNED)
            if entry_of(trial).figures
        ),
    ]
    shares = _shares(_study_of(trials, study), index)
    rng = np.random.default_rng(_SEED)
    drawn = []
    for _ in range(_RESAMPLES):
        sample = [trials[n] for n in rng.integers(len(trials), size=len(trials))]
        found = _shares(_study_of(sample, study), index)
        drawn.append([found.get(key, 0.0) for key in shares])
    tail = (100 - LEVEL_PERCENT) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail], axis=0)
    return [
        Importance(key, share, float(low[n]), float(high[n]))
        for n, (key, share) in enumerate(shares.items())
    ]


def _shares(study: optuna.Study, index: int) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the good figures should be the low ones: they are
        return optuna.importance.get_param_importances(
            study, target=lambda trial: trial.values[index]
        )


def _as_finished(trial: FrozenTrial) -> FrozenTrial:
    """Return a pruned trial as if it had finished with its last error."""
    return optuna.trial.create_trial(
        params=trial.params,
        distributions=trial.distributions,
        values=entry_of(trial).figures,
    )


def _study_of(trials: Sequence[FrozenTrial], like: optuna.Study) -> optuna.Study:
    study = optuna.create_study(directions=like.directions)
    study.add_trials(trials)
    return study
