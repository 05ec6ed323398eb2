"""The study of a search: Optuna's storage is its memory, Ray Tune's searcher its hand.

All that is known of trials lies in the storage, written as it happens: a search whose driver was
killed goes on from there, and Optuna's own tools open it. It knows no cephray configuration.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from cephray.errors import InputError
from tune.objectives import MRE, Objective
from tune.outcome import COMPLETE, EPOCH, EPOCHS, MEMORY, OUTCOME, PARAMETERS, REASON, SECONDS
from tune.settings import JOURNAL
from tune.space import Space, Value

# Drawn at random before the estimate of what is good begins.
STARTUP_TRIALS = 8

Values = Mapping[str, Value]
HasRoom = Callable[[Sequence[Values]], bool]


def open_storage(url: str | None, output: Path) -> optuna.storages.BaseStorage:
    """Open the storage of a study.

    Args:
        url: of a database, as SQLAlchemy takes it; none: a journal file.
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
    return optuna.storages.JournalStorage(JournalFileBackend(str(journal), lock))


def mend_journal(output: Path) -> None:
    """Take away what a killed driver left half written: a line without its end.

    Args:
        output: folder of the search, in which nothing writes now.
    """
    journal = output / JOURNAL
    if not journal.exists():
        return
    with journal.open("r+b") as file:
        text = file.read()
        file.truncate(text.rfind(b"\n") + 1)


def open_study(
    storage: optuna.storages.BaseStorage, name: str, objectives: Sequence[Objective]
) -> optuna.Study:
    """Open a study, or make it where there is none of that name."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=storage,
        study_name=name,
        load_if_exists=True,
        directions=["minimize"] * len(objectives),
    )


class StudySearch(OptunaSearch):
    """Ray Tune's OptunaSearch that takes up where a killed driver left off.

    What it suggests depends on the seed, the number of the trial and the study alone. A trial that
    was under way is suggested again, under its own number, before any new one.

    Args:
        study: its storage and name are used.
        space: what is varied.
        objectives: made small.
        trials: how many there are to be in the end, failed ones included.
        seed: of the sampler.
        baseline: values of the first trial.
        has_room: tells whether trials of these values can run at once; a trial that finds none
            waits for others to end, but never for nothing.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        objectives: Sequence[Objective],
        trials: int,
        seed: int,
        baseline: Values,
        has_room: HasRoom,
    ) -> None:
        keys = [objective.key for objective in objectives]
        super().__init__(
            space.suggest,
            metric=keys if len(keys) > 1 else keys[0],
            mode=["min"] * len(keys) if len(keys) > 1 else "min",
            points_to_evaluate=None if study.trials else [dict(baseline)],
            sampler=_sampler(seed, 0),
            study_name=study.study_name,
            storage=study._storage,
        )
        self._values, self._trials, self._sampler_seed = space, trials, seed
        self._baseline, self._has_room = baseline, has_room
        self._under_way = deque(_in_state(study, TrialState.RUNNING))
        self._running: dict[str, Values] = {}
        self._next: tuple[optuna.Trial, dict[str, Value]] | None = None

    @property
    def study(self) -> optuna.Study:
        """The study, as it stands."""
        study: Any = self._ot_study
        return cast(optuna.Study, study)

    def suggest(self, trial_id: str) -> Any:
        """Return the number and the values of the next trial, or that there is none (now)."""
        if self._next is None:
            if not self._fits(self._baseline):
                return None
            if not self._under_way and len(begun_trials(self.study)) >= self._trials:
                return Searcher.FINISHED
            self._next = self._ask()
        trial, values = self._next
        if not self._fits(values):
            return None
        self._next = None
        self._ot_trials[trial_id] = trial
        self._running[trial_id] = values
        return {"number": trial.number, "values": values}

    def _ask(self) -> tuple[optuna.Trial, dict[str, Value]]:
        if self._under_way:
            frozen = self._under_way.popleft()
            self.study.sampler = _sampler(self._sampler_seed, frozen.number)
            trial = optuna.Trial(self.study, frozen._trial_id)
        else:
            self.study.sampler = _sampler(self._sampler_seed, len(begun_trials(self.study)))
            trial = self.study.ask()
        return trial, self._values.suggest(trial)

    def _fits(self, values: Values) -> bool:
        return not self._running or self._has_room([*self._running.values(), values])

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Record the error reached at the end of an epoch."""
        trial = self._ot_trials[trial_id]
        if EPOCH not in result or isinstance(self.metric, list):
            return
        known = self.study._storage.get_trial(trial._trial_id).intermediate_values
        if result[EPOCH] not in known:  # a resumed trial tells its epochs again
            trial.report(result[MRE.key], result[EPOCH])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Record how a trial ended; one that says nothing of it was stopped by the scheduler."""
        trial = self._ot_trials[trial_id]
        self._running.pop(trial_id, None)
        result = result or {}
        self.on_trial_result(trial_id, result)  # the one that the scheduler stopped it at
        outcome = result.get(OUTCOME)
        keys = self.metric if isinstance(self.metric, list) else [self.metric]
        reason = result.get(REASON)
        if error:
            reason = "its process died: killed, or out of memory"
        elif outcome == COMPLETE and not all(math.isfinite(result[key]) for key in keys):
            reason = f"{', '.join(f'{key} is {result[key]}' for key in keys)}"
        if reason is not None:
            trial.set_user_attr(REASON, reason)
        for fact in (SECONDS, MEMORY, PARAMETERS):
            if fact in result:
                trial.set_user_attr(fact, result[fact])
        if EPOCH in result:
            trial.set_user_attr(EPOCHS, result[EPOCH])
        is_complete = outcome == COMPLETE and reason is None
        super().on_trial_complete(
            trial_id, result if is_complete else None, error=reason is not None
        )

    # Ray Tune's own way to go on is not used: the storage has it all.

    def save(self, checkpoint_path: str) -> None:
        """Write nothing."""
        Path(checkpoint_path).touch()

    def __getstate__(self) -> dict[str, Any]:
        """Keep nothing."""
        return {}


class _Scheduler(ASHAScheduler):
    """Ray Tune's ASHA, but for the first trial: every study has its baseline to the end."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision: str = super().on_trial_result(tune_controller, trial, result)
        is_baseline = getattr(trial, "config", {}).get("number") == 0
        return TrialScheduler.CONTINUE if is_baseline else decision


def scheduler_of(
    study: optuna.Study, epochs: int, grace_epochs: int, reduction_factor: float
) -> ASHAScheduler | None:
    """Make the ASHA scheduler that has seen the trials of a study; none where none could end.

    Args:
        study: of one objective.
        epochs: of a whole trial.
        grace_epochs: no trial ends earlier.
        reduction_factor: one in so many goes on at each rung.
    """
    if grace_epochs >= epochs:
        return None
    nobody: Any = None  # the scheduler asks nothing of whoever runs its trials
    scheduler = _Scheduler(
        time_attr=EPOCH,
        metric=MRE.key,
        mode="min",
        max_t=epochs - 1,  # at the last epoch there is nothing left to save
        grace_period=grace_epochs,
        reduction_factor=reduction_factor,
        stop_last_trials=False,  # a trial ends by itself, and says what it came to
    )
    for trial in ended_trials(study):
        stand_in: Any = SimpleNamespace(trial_id=f"{study.study_name}-{trial.number}")
        scheduler.on_trial_add(nobody, stand_in)
        for epoch, mre_mm in sorted(trial.intermediate_values.items()):
            scheduler.on_trial_result(nobody, stand_in, {EPOCH: epoch, MRE.key: mre_mm})
        scheduler.on_trial_remove(nobody, stand_in)
    return scheduler


def begun_trials(study: optuna.Study) -> list[FrozenTrial]:
    """List the trials that were drawn; one that waits in Optuna's queue was not."""
    return [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]


def ended_trials(study: optuna.Study) -> list[FrozenTrial]:
    """List the trials that came to an end, by number."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """List the best trial, or the Pareto front by its first objective; none before one ended."""
    complete = _in_state(study, TrialState.COMPLETE)
    if len(study.directions) == 1:
        return sorted(complete, key=lambda trial: trial.values)[:1]
    return sorted(study.best_trials, key=lambda trial: trial.values)


def _in_state(study: optuna.Study, state: TrialState) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(state,))


def _sampler(seed: int, number: int) -> optuna.samplers.TPESampler:
    """Make the sampler of one trial: it carries nothing from the trials that it drew before."""
    drawn = np.random.SeedSequence([seed, number]).generate_state(1)[0]
    return optuna.samplers.TPESampler(n_startup_trials=STARTUP_TRIALS, seed=int(drawn))
