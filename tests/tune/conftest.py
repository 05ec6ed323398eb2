"""What the tests of searches share: a space, a study in a folder, trials told without training."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest

from cephray.config import load_config
from tune.drivers import FOLDER, Driver
from tune.objectives import MRE, objectives_of
from tune.outcome import COMPLETE, EPOCH, OUTCOME
from tune.searcher import StudySearch
from tune.space import Integer, Real, Space, Value
from tune.study import open_storage, open_study

SPACE = Space(
    {
        "model.roi_pool_size": Integer(3, 9, 2),
        "model.fusion_depth": Integer(1, 4),
        "loss.detection_weight": Real(0.1, 10, log=True),
    }
)
TRIALS = 12


def error_mm(values: Mapping[str, Any]) -> float:
    """A trial's error, as if it had been trained; least at 7, 2, and 1."""
    size, depth, weight = (float(values[key]) for key in SPACE.dimensions)
    return 1 + abs(size - 7) / 4 + abs(depth - 2) / 3 + abs(weight - 1)


def driver_of(output: Path) -> Driver:
    """Return a driver that is seen as dead by all others, for it holds no file."""
    (output / FOLDER).mkdir(exist_ok=True)
    return Driver(output, f"{socket.gethostname()}-1-{secrets.token_hex(4)}")


@pytest.fixture
def make_search(tmp_path: Path) -> Callable[..., StudySearch]:
    """Open the search of a folder, as each start of the command does."""

    def make(
        folder: Path | None = tmp_path,
        seed: int = 0,
        trials: int = TRIALS,
        has_room: Callable[..., bool] = lambda values: False,
    ) -> StudySearch:
        objectives = objectives_of(None)
        storage = open_storage(None, folder) if folder else optuna.storages.InMemoryStorage()
        study = open_study(storage, "search", objectives)
        baseline = SPACE.baseline(load_config())
        driver = driver_of(folder or tmp_path)
        return StudySearch(study, SPACE, objectives, trials, seed, baseline, has_room, driver)

    return make


def tell(search: StudySearch, trial_id: str, values: Mapping[str, Value], epochs: int = 2) -> None:
    """Tell a search of a trial that ran to its end."""
    result: dict[str, Any] = {}
    for epoch in range(1, epochs + 1):
        result = {EPOCH: epoch, MRE.key: error_mm(values) + (epochs - epoch)}
        search.on_trial_result(trial_id, result)
    search.on_trial_complete(trial_id, {**result, OUTCOME: COMPLETE})


def run(search: StudySearch, count: int = 1000) -> list[dict[str, Any]]:
    """Take up to so many trials one at a time; return what was suggested."""
    suggested: list[dict[str, Any]] = []
    while len(suggested) < count:
        trial_id = f"trial-{id(search)}-{len(suggested)}"
        choice = search.suggest(trial_id)
        if choice == search.FINISHED:
            break
        suggested.append(choice)
        tell(search, trial_id, choice["values"])
    return suggested


def numbers(study: optuna.Study) -> list[int]:
    return [trial.number for trial in study.trials]
