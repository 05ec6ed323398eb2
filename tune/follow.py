"""Ray Tune's callback: it updates the screen and the results after each step of a trial.

Ray Tune calls it. It knows the study and the files, and draws and measures nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from ray.tune import Callback
from ray.tune.experiment import Trial

from tune.leaderboard import Entry, write_results
from tune.objectives import MRE
from tune.outcome import EPOCH, OUTCOME, trial_folder
from tune.screen import Screen
from tune.settings import Settings


class Follow(Callback):
    """Takes what Ray Tune says of trials.

    Args:
        settings: of the search.
        study: of the search.
        screen: to show on.
    """

    def __init__(self, settings: Settings, study: optuna.Study, screen: Screen) -> None:
        self._settings, self._study, self._screen = settings, study, screen

    def __getstate__(self) -> dict[str, Any]:
        """Keep nothing: Ray Tune's own way to go on is not used."""
        return {}

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Show a trial that starts."""
        self._screen.begin(trial.config["number"], trial.config["values"])

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Show an epoch."""
        if OUTCOME not in result and EPOCH in result:
            choice = trial.config
            self._screen.advance(
                choice["number"], result[EPOCH], result[MRE.key], choice["values"]
            )

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Show that a trial ended, and write the results."""
        self._end(trial)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Likewise, where its process died."""
        self._end(trial)

    def _end(self, trial: Trial) -> None:
        self._screen.end(trial.config["number"])
        entries = write_results(self._settings, self._study)
        forget_checkpoints(self._settings.output, entries)


def forget_checkpoints(output: Path, entries: Sequence[Entry]) -> None:
    """Remove the checkpoints of trials that ended, but for the best.

    With default heads each takes some gigabytes. Configuration and history stay.
    """
    for entry in entries:
        if not entry.is_best:
            for folder in trial_folder(output, entry.trial).glob("epoch-*"):
                shutil.rmtree(folder, ignore_errors=True)
