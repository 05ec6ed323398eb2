"""Ray Tune's searcher and scheduler, which ask Optuna for every trial and for every pruning.

Optuna suggests by ask-and-tell, and its pruner is asked after each epoch of a trial. Both keep
what they know in the storage of the study alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from tune.drivers import Driver
from tune.objectives import MRE, Objective
from tune.optuna_private import take_up
from tune.outcome import (
    COMPLETE,
    DRIVER,
    EPOCH,
    EPOCHS,
    MEMORY,
    OUTCOME,
    PARAMETERS,
    REASON,
    SECONDS,
)
from tune.space import Space, Value
from tune.study import begun_trials, trials_in_state

STARTUP_TRIALS = 8
"""Number of trials that are drawn at random before TPE's estimate begins."""

Values = Mapping[str, Value]
HasRoom = Callable[[Sequence[Values]], bool]


class StudySearch(Searcher):
    """Ray Tune's searcher on an Optuna study, which goes on where a killed driver left off.

    What it suggests depends on the seed, the number of the trial and the study alone. A trial that
    was running under a driver that died is suggested again, under its own number, before any new
    one. Several drivers may work on the study.

    Args:
        study: Keeps the trials.
        space: What is varied.
        objectives: To minimise.
        trials: Number of trials in the end, failed ones included.
        seed: Of the sampler.
        baseline: Values of the first trial.
        has_room: Tells whether trials of these values can run at once. A trial that finds no room
            waits for others to end. A trial that runs alone is not asked for.
        driver: That suggests them.
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
        driver: Driver,
    ) -> None:
        self.keys = [objective.key for objective in objectives]
        several = len(self.keys) > 1
        super().__init__(
            metric=self.keys if several else self.keys[0],  # type: ignore[arg-type]
            mode=["min"] * len(self.keys) if several else "min",  # type: ignore[arg-type]
        )
        self.study = study
        self._space, self._trials, self._seed = space, trials, seed
        self._baseline, self._has_room = baseline, has_room
        self.driver = driver
        self._asked: dict[str, optuna.Trial] = {}  # trials by Ray Tune's names
        self._running: dict[str, Values] = {}
        self._next: tuple[optuna.Trial, dict[str, Value]] | None = None
        with driver.drawing():
            if not study.trials:
                study.enqueue_trial(dict(baseline))

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Refuse others: metric, mode and space are those of the study."""
        return False

    def suggest(self, trial_id: str) -> Any:
        """Return the number and the values of the next trial, or that there is none (now)."""
        if self._next is None:
            if not self._fits(self._baseline):
                return None
            with self.driver.drawing():
                self._next = self._ask()
            if self._next is None:
                return Searcher.FINISHED
        trial, values = self._next
        if not self._fits(values):
            return None
        self._next = None
        self._asked[trial_id] = trial
        self._running[trial_id] = values
        return {"number": trial.number, "values": values}

    def _ask(self) -> tuple[optuna.Trial, dict[str, Value]] | None:
        left = [
            trial
            for trial in trials_in_state(self.study, TrialState.RUNNING)
            if not self.driver.lives(trial.user_attrs.get(DRIVER))
        ]
        begun = len(begun_trials(self.study))
        if left:
            self.study.sampler = _sampler(self._seed, left[0].number)
            trial = take_up(self.study, left[0])
        elif begun < self._trials:
            self.study.sampler = _sampler(self._seed, begun)
            trial = self.study.ask()
        else:
            return None
        trial.set_user_attr(DRIVER, self.driver.name)
        return trial, self._space.suggest(trial)

    def _fits(self, values: Values) -> bool:
        return not self._running or self._has_room([*self._running.values(), values])

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Record the error reached at the end of an epoch."""
        trial = self._asked[trial_id]
        if EPOCH not in result or len(self.keys) > 1:
            return
        known = self.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        if result[EPOCH] not in known:  # a resumed trial reports its epochs again
            trial.report(result[MRE.key], result[EPOCH])

    def should_prune(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Record a result, and ask Optuna whether the trial is to end. The baseline never is."""
        self.on_trial_result(trial_id, result)
        trial = self._asked[trial_id]
        return EPOCH in result and trial.number > 0 and trial.should_prune()

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Record how a trial ended. A trial without outcome or reason was pruned."""
        result = result or {}
        self.on_trial_result(trial_id, result)  # the one that it was pruned at
        trial = self._asked.pop(trial_id)
        self._running.pop(trial_id, None)
        outcome, reason = result.get(OUTCOME), result.get(REASON)
        if error:
            reason = "its process died: killed, or out of memory"
        elif outcome == COMPLETE and not all(math.isfinite(result[key]) for key in self.keys):
            reason = ", ".join(f"{key} is {result[key]}" for key in self.keys)
        if reason is not None:
            trial.set_user_attr(REASON, reason)
        for fact in (SECONDS, MEMORY, PARAMETERS):
            if fact in result:
                trial.set_user_attr(fact, result[fact])
        if EPOCH in result:
            trial.set_user_attr(EPOCHS, result[EPOCH])
        if reason is not None:
            self.study.tell(trial, state=TrialState.FAIL)
        elif outcome == COMPLETE:
            self.study.tell(trial, [result[key] for key in self.keys])
        else:
            self.study.tell(trial, state=TrialState.PRUNED)

    # Ray Tune's own way to go on is not used: the storage has it all.

    def save(self, checkpoint_path: str) -> None:
        """Write nothing."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing."""

    def __getstate__(self) -> dict[str, Any]:
        """Keep nothing."""
        return {}


class PruningScheduler(FIFOScheduler):
    """Ray Tune's scheduler that stops the trials that Optuna's pruner ends.

    Args:
        searcher: Knows the trials.
        epochs: Of a whole trial. At the last epoch there is nothing left to save.
    """

    def __init__(self, searcher: StudySearch, epochs: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher, self._epochs = searcher, epochs

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Take a result, and decide whether the trial goes on."""
        if result.get(EPOCH, 0) >= self._epochs:
            return TrialScheduler.CONTINUE
        prune = self._searcher.should_prune(trial.trial_id, result)
        return TrialScheduler.STOP if prune else TrialScheduler.CONTINUE

    def __getstate__(self) -> dict[str, Any]:
        """Keep nothing: the storage has it all."""
        return {}


def pruner_of(epochs: int, grace_epochs: int, reduction_factor: int) -> optuna.pruners.BasePruner:
    """Return the pruner of a study of one objective.

    Args:
        epochs: Of a whole trial.
        grace_epochs: No trial is pruned earlier.
        reduction_factor: One in so many goes on at each rung: asynchronous successive halving (Li
            et al. 2020).
    """
    if grace_epochs >= epochs:
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=grace_epochs, reduction_factor=reduction_factor
    )


def _sampler(seed: int, number: int) -> optuna.samplers.TPESampler:
    """Make the sampler of one trial: it carries nothing from the trials that it drew before."""
    drawn = np.random.SeedSequence([seed, number]).generate_state(1)[0]
    return optuna.samplers.TPESampler(n_startup_trials=STARTUP_TRIALS, seed=int(drawn))
