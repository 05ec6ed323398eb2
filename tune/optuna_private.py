"""What Optuna keeps private and a search uses, in one place.

Optuna has no public way to take up a trial that another process began.
tests/tune/test_optuna_private.py says what changed if a new version of Optuna breaks this file.
"""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial


def take_up(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial:
    """Return a trial of a study that runs, under its own number.

    What it suggests again are the values that it has.

    Args:
        study: Of the trial.
        trial: In state RUNNING.
    """
    return optuna.Trial(study, trial._trial_id)
