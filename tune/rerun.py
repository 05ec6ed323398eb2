"""Configurations that are trained again side by side, each in its own process of Ray Tune.

It knows no study. A run that fails says why, and does not end the others.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray.tune
from ray.tune.experiment import Trial

from cephray.config import Config
from cephray.data import KnownCopies
from cephray.progress import Show
from cephray.storage import Place
from tune.objectives import MRE
from tune.outcome import REASON
from tune.trial import describe, train_in
from tune.tuner import RESOURCES, fit

_LOST = "its process died"


def train_side_by_side(
    runs: Mapping[Path, Config],
    data: Place,
    known: KnownCopies,
    books: Path,
    at_once: int,
    show: Show,
    verbose: bool = False,
) -> list[str]:
    """Train in each folder, or what is left to train there.

    Args:
        runs: configurations by the folders of their runs.
        data: the data set.
        known: copies among its films.
        books: folder that Ray Tune keeps its own files in while it runs; it is removed.
        at_once: number of runs at a time.
        show: takes a line for each run that ends.
        verbose: let Ray Tune's own logs through.

    Returns:
        A line for each run that failed, which says why.

    Raises:
        RunError: Ray Tune failed.
    """
    tuner = ray.tune.Tuner(
        ray.tune.with_resources(
            ray.tune.with_parameters(_train, runs=list(runs.items()), data=data, known=known),
            RESOURCES,
        ),
        param_space={"number": ray.tune.grid_search(list(range(len(runs))))},
        tune_config=ray.tune.TuneConfig(max_concurrent_trials=at_once),
        run_config=ray.tune.RunConfig(
            storage_path=str(books),
            verbose=3 if verbose else 0,
            failure_config=ray.tune.FailureConfig(max_failures=2),  # of a run's own process
            callbacks=[_Follow([folder.name for folder in runs], show)],
        ),
    )
    try:
        results = fit(tuner, verbose)
    finally:
        shutil.rmtree(books, ignore_errors=True)
    failed = []
    for number, folder in enumerate(runs):
        result = results[number]
        reason = _LOST if result.error else (result.metrics or {}).get(REASON)
        if reason is not None:
            failed.append(f"{folder.name} failed: {reason}")
    return failed


def _train(
    choice: Mapping[str, int],
    runs: Sequence[tuple[Path, Config]],
    data: Place,
    known: KnownCopies,
) -> None:
    """Train one of the runs; what Ray Tune calls."""
    try:
        best = train_in(*runs[choice["number"]], data, known)
        last: dict[str, Any] = {MRE.key: best.progress.score}
    except Exception as error:
        last = {REASON: describe(error)}
    ray.tune.report(last)


class _Follow(ray.tune.Callback):
    """Says of each run that it ended.

    Args:
        names: of the runs.
        show: takes the lines.
    """

    def __init__(self, names: Sequence[str], show: Show) -> None:
        self._names, self._show = names, show

    def __getstate__(self) -> dict[str, Any]:
        """Keep nothing: Ray Tune's own way to go on is not used."""
        return {}

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Show the error of a run; why one failed is said in the end."""
        name, last = self._names[trial.config["number"]], trial.last_result
        self._show(
            f"{name} failed" if REASON in last else f"{name}: validation {last[MRE.key]:.3f} mm"
        )

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Likewise, where its process died."""
        self._show(f"{self._names[trial.config['number']]} failed")
