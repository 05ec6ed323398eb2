"""The study: what is suggested, what survives a kill, what Optuna's own tools find."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.schedulers import TrialScheduler

from cephray.config import load_config
from cephray.errors import InputError
from tests.tune.conftest import SPACE, TRIALS, driver_of, error_mm, numbers, run, tell
from tune.objectives import MRE, SECOND, objectives_of
from tune.outcome import COMPLETE, DRIVER, EPOCH, EPOCHS, FAILED, OUTCOME, REASON, SECONDS
from tune.searcher import PruningScheduler, StudySearch, pruner_of
from tune.settings import JOURNAL
from tune.study import (
    best_trials,
    ended_trials,
    open_storage,
    open_study,
)

MakeSearch = Callable[..., StudySearch]
NOBODY: Any = None  # runs the trials that a scheduler decides on


def test_the_baseline_comes_first_and_every_trial_once(make_search: MakeSearch) -> None:
    search = make_search()
    suggested = run(search)
    assert suggested[0]["values"] == {
        "model.roi_pool_size": 5,
        "model.fusion_depth": 3,
        "loss.detection_weight": 1.0,
    }
    assert [choice["number"] for choice in suggested] == list(range(TRIALS))
    for choice, trial in zip(suggested, search.study.trials, strict=True):
        assert trial.state == TrialState.COMPLETE
        assert trial.params == choice["values"]
        assert trial.value == error_mm(choice["values"])
        assert trial.intermediate_values == {1: trial.value + 1, 2: trial.value}
    [best] = best_trials(search.study)
    assert best.value == min(error_mm(choice["values"]) for choice in suggested)


def test_the_same_seed_and_results_suggest_the_same(
    make_search: MakeSearch, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    whole = run(make_search(tmp_path / "a"))
    assert run(make_search(tmp_path / "b")) == whole
    assert run(make_search(tmp_path / "c", seed=1))[1:] != whole[1:]
    # A driver that ends after each trial: nothing depends on what it had in memory.
    parts: list[Any] = []
    (tmp_path / "parts").mkdir()
    for _ in whole:
        parts += run(make_search(tmp_path / "parts"), count=1)
    assert parts == whole


def test_the_sampler_learns(make_search: MakeSearch) -> None:
    suggested = run(make_search(None, trials=60))
    errors = [error_mm(choice["values"]) for choice in suggested]
    assert sum(errors[-20:]) < 0.7 * sum(errors[1:21])


def test_a_killed_driver_loses_no_trial_and_repeats_none(
    make_search: MakeSearch, tmp_path: Path
) -> None:
    first = make_search()
    run(first, count=4)
    choice = first.suggest("under way")
    first.on_trial_result("under way", {EPOCH: 1, MRE.key: 3.0})
    del first
    journal = tmp_path / JOURNAL
    # Killed while it wrote, and while it held the lock.
    journal.write_bytes(journal.read_bytes() + b'{"op_code": 6, "trial')
    journal.with_name(f"{JOURNAL}.lock").touch()
    begun = time.monotonic()
    second = make_search()
    suggested = run(second)
    assert time.monotonic() - begun < 30
    assert suggested[0] == choice
    assert [choice["number"] for choice in suggested] == list(range(4, TRIALS))
    assert numbers(second.study) == list(range(TRIALS))
    assert {trial.state for trial in second.study.trials} == {TrialState.COMPLETE}
    # What was known of the interrupted trial is kept; its epochs are told again.
    assert second.study.trials[4].intermediate_values[1] == 3.0


def test_a_driver_killed_between_two_draws_of_a_trial(make_search: MakeSearch) -> None:
    run(make_search(), count=1)
    half = make_search().study.ask()  # the trial is there, its values are not
    size = half.suggest_int("model.roi_pool_size", 3, 9, step=2)
    suggested = run(make_search())
    assert suggested[0]["number"] == 1
    assert suggested[0]["values"]["model.roi_pool_size"] == size
    assert suggested[0]["values"].keys() == SPACE.dimensions.keys()


def test_more_trials_may_be_asked_for_later(make_search: MakeSearch) -> None:
    assert len(run(make_search(trials=3))) == 3
    assert run(make_search(trials=3)) == []
    assert [choice["number"] for choice in run(make_search(trials=5))] == [3, 4]


def test_how_a_trial_ended_is_recorded_with_its_reason(make_search: MakeSearch) -> None:
    search = make_search()
    ends: list[tuple[dict[str, Any] | None, bool]] = [
        ({OUTCOME: FAILED, REASON: "the loss is nan"}, False),
        ({OUTCOME: COMPLETE, MRE.key: math.nan, EPOCH: 2}, False),
        (None, True),
        ({EPOCH: 1, MRE.key: 5.0, SECONDS: 3.0}, False),  # stopped by the scheduler
        ({OUTCOME: COMPLETE, MRE.key: 2.0, EPOCH: 2, SECONDS: 4.0}, False),
    ]
    for number, (result, error) in enumerate(ends):
        search.suggest(f"{number}")
        search.on_trial_complete(f"{number}", result, error)
    failed, nan, died, pruned, complete = search.study.trials
    assert [t.state for t in (failed, nan, died)] == [TrialState.FAIL] * 3
    assert failed.user_attrs[REASON] == "the loss is nan"
    assert nan.user_attrs[REASON] == "mre_mm is nan"
    assert "its process died" in died.user_attrs[REASON]
    assert pruned.state == TrialState.PRUNED
    assert pruned.intermediate_values == {1: 5.0}
    assert pruned.user_attrs == {SECONDS: 3.0, EPOCHS: 1, DRIVER: search.driver.name}
    assert complete.state == TrialState.COMPLETE
    assert complete.value == 2.0
    assert best_trials(search.study) == [complete]


def test_trials_wait_for_room_but_never_for_nothing(make_search: MakeSearch) -> None:
    asked: list[int] = []

    def has_room(trials: Sequence[Any]) -> bool:
        asked.append(len(trials))
        return len(trials) <= 2

    search = make_search(has_room=has_room)
    choices = [search.suggest(f"{number}") for number in range(3)]
    assert choices[2] is None
    assert asked == [2, 2, 3]  # alone it is not asked; once before and once after the values
    tell(search, "0", choices[0]["values"])
    assert search.suggest("3")["number"] == 2


def test_a_trial_that_was_drawn_waits_with_its_values(make_search: MakeSearch) -> None:
    """Its values may ask for more than there is; others end before it runs alone."""
    sizes: list[Any] = []

    def has_room(trials: Sequence[Any]) -> bool:
        sizes.append([trial["model.roi_pool_size"] for trial in trials])
        return bool(trials[-1] == SPACE.baseline(load_config()))

    search = make_search(has_room=has_room)
    first = search.suggest("0")
    assert search.suggest("1") is None
    assert search.suggest("2") is None
    assert numbers(search.study) == [0, 1]
    tell(search, "0", first["values"])
    assert search.suggest("3")["number"] == 1


def halve(make_search: MakeSearch, folder: Path, restart: bool) -> list[str]:
    """Run trials of given curves with the pruner; return their states."""
    search = make_search(folder)
    for number, level in enumerate([5.0, 4.0, 6.0, 3.0, 4.5, 2.0]):
        if restart:
            search = make_search(folder)
        search.study.pruner = pruner_of(8, 2, 2)
        scheduler = PruningScheduler(search, 8)
        name = f"{folder.name}-{number}"
        assert search.suggest(name)["number"] == number
        trial: Any = SimpleNamespace(trial_id=name)
        result: dict[str, Any] = {}
        for epoch in range(1, 9):
            result = {EPOCH: epoch, MRE.key: level / epoch}
            if scheduler.on_trial_result(NOBODY, trial, result) == TrialScheduler.STOP:
                break
        else:
            result[OUTCOME] = COMPLETE
        search.on_trial_complete(name, result)
    for frozen in search.study.trials:
        curve = [5.0, 4.0, 6.0, 3.0, 4.5, 2.0][frozen.number]
        steps = {epoch: curve / epoch for epoch in range(1, len(frozen.intermediate_values) + 1)}
        assert frozen.intermediate_values == steps
    return [trial.state.name for trial in search.study.trials]


def test_pruning_after_a_restart_decides_as_before(
    make_search: MakeSearch, tmp_path: Path
) -> None:
    """By hand: the baseline is never pruned; of n at a rung the n // 2 best go on, or one."""
    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    states = halve(make_search, tmp_path / "whole", restart=False)
    assert states == ["COMPLETE", "COMPLETE", "PRUNED", "COMPLETE", "PRUNED", "COMPLETE"]
    assert halve(make_search, tmp_path / "parts", restart=True) == states


def test_a_trial_that_goes_on_after_a_kill_reports_its_epochs_once(
    make_search: MakeSearch,
) -> None:
    first = make_search()
    first.suggest("a")
    first.study.pruner = pruner_of(8, 2, 2)
    for epoch in (1, 2, 3):
        assert not first.should_prune("a", {EPOCH: epoch, MRE.key: 9.0 - epoch})
    again = make_search()
    assert again.suggest("b")["number"] == 0
    again.study.pruner = pruner_of(8, 2, 2)
    for epoch in (1, 2, 3, 4):
        assert not again.should_prune("b", {EPOCH: epoch, MRE.key: 9.0 - epoch})
    [trial] = again.study.trials
    assert trial.intermediate_values == {1: 8.0, 2: 7.0, 3: 6.0, 4: 5.0}


def test_where_no_trial_could_end_early_nothing_is_pruned() -> None:
    assert isinstance(pruner_of(3, 3, 2), optuna.pruners.NopPruner)
    assert isinstance(pruner_of(1, 1, 2), optuna.pruners.NopPruner)
    assert isinstance(pruner_of(2, 1, 2), optuna.pruners.SuccessiveHalvingPruner)


def test_the_baseline_is_never_pruned(make_search: MakeSearch) -> None:
    search = make_search(has_room=lambda values: True)
    search.study.pruner = pruner_of(8, 2, 2)
    for number in range(4):
        search.suggest(f"{number}")
    decisions = {}
    for number, level in ((1, 1.0), (2, 2.0), (0, 9.0), (3, 9.0)):
        decisions[number] = search.should_prune(f"{number}", {EPOCH: 2, MRE.key: level})
    assert decisions == {1: False, 2: True, 0: False, 3: True}


def test_the_front_is_that_of_brute_force(tmp_path: Path) -> None:
    objectives = objectives_of("latency")
    study = open_study(optuna.storages.InMemoryStorage(), "search", objectives)
    baseline = SPACE.baseline(load_config())
    driver = driver_of(tmp_path)
    search = StudySearch(study, SPACE, objectives, 30, 0, baseline, lambda values: False, driver)
    key = SECOND["latency"].key
    for number in range(30):
        values = search.suggest(f"{number}")["values"]
        figures = {MRE.key: error_mm(values), key: float(values["model.roi_pool_size"] ** 2)}
        search.on_trial_complete(f"{number}", {OUTCOME: COMPLETE, EPOCH: 1, **figures})
    points = {trial.number: tuple(trial.values) for trial in ended_trials(search.study)}
    front = {
        number
        for number, (mre, cost) in points.items()
        if not any(m <= mre and c <= cost and (m < mre or c < cost) for m, c in points.values())
    }
    assert {trial.number for trial in best_trials(search.study)} == front
    assert 1 < len(front) < 30


def test_optuna_opens_the_journal_by_itself(make_search: MakeSearch, tmp_path: Path) -> None:
    run(make_search(), count=3)
    copy = shutil.copy(tmp_path / JOURNAL, tmp_path / "copy.journal")
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(copy)))
    [name] = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    assert len(study.trials) == 3
    assert study.best_value == min(trial.value for trial in study.trials if trial.value)


def test_a_database_holds_a_study_as_well(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    for expected in ([0, 1], [2, 3]):
        study = open_study(open_storage(url, tmp_path), "search", objectives_of(None))
        baseline = SPACE.baseline(load_config())
        search = StudySearch(
            study, SPACE, objectives_of(None), 4, 0, baseline, lambda values: False,
            driver_of(tmp_path),
        )  # fmt: skip
        assert [choice["number"] for choice in run(search, count=2)] == expected
    with pytest.raises(InputError, match=r"storage nosuch://x: cannot be opened"):
        open_storage("nosuch://x", tmp_path)
