"""What a search expects of Optuna's private parts; a failure says what changed in a new Optuna."""

from __future__ import annotations

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tune.optuna_private import take_up


@pytest.mark.parametrize("storage", ["memory", "journal"])
def test_a_trial_of_another_process_is_taken_up(
    storage: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("study") / "study.journal"

    def opened() -> optuna.Study:
        backend = JournalFileBackend(str(path))
        return optuna.create_study(
            storage=optuna.storages.JournalStorage(backend), study_name="s", load_if_exists=True
        )

    first = optuna.create_study() if storage == "memory" else opened()
    begun = first.ask()
    value = begun.suggest_float("x", 0, 1)
    begun.report(3.0, 1)
    second = first if storage == "memory" else opened()
    [frozen] = second.get_trials(states=(TrialState.RUNNING,))
    trial = take_up(second, frozen)
    assert trial.number == begun.number
    assert trial.suggest_float("x", 0, 1) == value, "a trial no longer suggests what it has"
    trial.report(2.0, 2)
    second.tell(trial, 2.0)
    [ended] = second.trials
    assert ended.intermediate_values == {1: 3.0, 2: 2.0}
    assert ended.state == TrialState.COMPLETE
