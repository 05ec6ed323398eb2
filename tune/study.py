"""The study of a search: Optuna's storage, which is all that a search remembers of its trials.

It is written as trials go on, so that a search whose driver was killed goes on from there, and
Optuna's own tools open it. It knows neither Ray Tune nor cephray's configuration.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from cephray.errors import InputError
from tune.objectives import Objective
from tune.settings import JOURNAL


def open_storage(url: str | None, output: Path) -> optuna.storages.BaseStorage:
    """Open the storage of a study.

    Args:
        url: of a database, as SQLAlchemy takes it. If None, a journal file is used.
        output: folder of the search; the journal lies there.

    Raises:
        InputError: the database cannot be used.
    """
    if url is not None:
        try:
            return optuna.storages.RDBStorage(url)
        except Exception as error:  # of SQLAlchemy, or of the database's own driver
            line = " ".join(str(error).split())
            raise InputError(f"storage {url}: cannot be opened ({line})") from None
    journal = (output / JOURNAL).resolve()
    # A lock that a killed driver left is broken after the grace period, in seconds.
    lock = JournalFileOpenLock(str(journal), grace_period=5)
    return optuna.storages.JournalStorage(_Journal(journal, lock))


class _Journal(JournalFileBackend):
    """A journal in a file, from which a line that a killed driver left half written is removed.

    Optuna would join the next line to it, and could not read the journal any more.
    """

    def __init__(self, journal: Path, lock: JournalFileOpenLock) -> None:
        super().__init__(str(journal), lock)
        self._journal, self._writing = journal, lock

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._writing.acquire()
        try:
            self._mend()
        finally:
            self._writing.release()
        super().append_logs(logs)

    def _mend(self) -> None:
        with self._journal.open("r+b") as file:
            if not file.seek(0, os.SEEK_END):
                return
            file.seek(-1, os.SEEK_END)
            if file.read() == b"\n":
                return
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def open_study(
    storage: optuna.storages.BaseStorage, name: str, objectives: Sequence[Objective]
) -> optuna.Study:
    """Open the study of this name, or create it."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=storage,
        study_name=name,
        load_if_exists=True,
        directions=["minimize"] * len(objectives),
        pruner=optuna.pruners.NopPruner(),  # a search sets its own
    )


def begun_trials(study: optuna.Study) -> list[FrozenTrial]:
    """List the trials that were drawn; one that waits in Optuna's queue was not."""
    return [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]


def ended_trials(study: optuna.Study) -> list[FrozenTrial]:
    """List the trials that came to an end, by number."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """List the best trial, or the Pareto front by its first objective; empty if none finished."""
    complete = trials_in_state(study, TrialState.COMPLETE)
    if len(study.directions) == 1:
        return sorted(complete, key=lambda trial: trial.values)[:1]
    return sorted(study.best_trials, key=lambda trial: trial.values)


def trials_in_state(study: optuna.Study, state: TrialState) -> list[FrozenTrial]:
    """List the trials in a state, by number."""
    return study.get_trials(deepcopy=False, states=(state,))
