"""Importances are shown if trials and films are enough for them; else the report says why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from cephray.config import load_config, override
from tests.conftest import SMALL
from tests.tune.conftest import SPACE, run
from tune import search as command
from tune.evidence import Evidence
from tune.importance import importances_of
from tune.objectives import MRE, SECOND
from tune.report import PAGE, PICTURES, report
from tune.screen import Screen
from tune.searcher import StudySearch
from tune.settings import Search, Settings, load_settings

FILMS = "5 validation films are needed, and there"
TRIALS = "20 finished or pruned trials are needed, and there"
LEFT_OUT = "Importances for validation MRE are left out"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    search = Search(data="/films", trials=20, grace_epochs=1, study_name="search")
    base = override(load_config(), {"train.cpus_per_worker": 2, "train.epochs": 2})
    return Settings(tmp_path, search, base, SPACE)


@pytest.mark.parametrize(
    ("trials", "films", "said", "is_left_out"),
    [
        (20, 15, "20 finished trials on 15 validation films", ""),
        (20, 5, "20 finished trials on 5 validation films", ""),
        (20, None, "20 finished trials", ""),  # a search of an earlier version
        (20, 4, "20 finished trials on 4 validation films", f"{LEFT_OUT}: {FILMS} are 4."),
        (20, 1, "20 finished trials on 1 validation film", f"{LEFT_OUT}: {FILMS} is 1."),
        (19, 15, "19 finished trials on 15 validation films", f"{LEFT_OUT}: {TRIALS} are 19."),
        (5, None, "5 finished trials", f"{LEFT_OUT}: {TRIALS} are 5."),
        (
            1,
            1,
            "1 finished trial on 1 validation film",
            f"{LEFT_OUT}: {TRIALS} is 1; {FILMS} is 1.",
        ),
    ],
)
def test_the_report_says_what_it_rests_on(
    trials: int,
    films: int | None,
    said: str,
    is_left_out: str,
    settings: Settings,
    make_search: Callable[..., StudySearch],
    capsys: pytest.CaptureFixture[str],
) -> None:
    search = make_search(trials=trials)
    run(search)
    counted = settings.search.model_copy(update={"validation_films": films})
    report(replace(settings, search=counted), search.study)
    page = " ".join((settings.output / PAGE).read_text().split())
    printed = capsys.readouterr().out
    is_drawn = (settings.output / PICTURES / "importance-mre_mm.png").exists()
    assert is_drawn == (not is_left_out)
    assert ("PED-ANOVA" in page) == is_drawn
    assert (f"PED-ANOVA of {said}" in page) == is_drawn
    assert f"They rest on {said}." in page
    assert f"Figures rest on {said}." in printed
    few = "with fewer than 5, the best trial may be the best on these films alone"
    for text in (page, printed):
        assert (LEFT_OUT in text) == (not is_drawn)
        assert is_left_out in text
        assert (few in text) == (films is not None and films < 5)


def test_what_does_not_depend_on_films() -> None:
    assert Evidence(20, 1).missing(SECOND["latency"]) == ""
    assert Evidence(20, 1).missing(MRE) != ""
    assert Evidence(19, 1).missing(SECOND["latency"]) != ""


def test_pruned_trials_count_beside_finished_ones() -> None:
    evidence = Evidence(14, 15, pruned=6)
    assert str(evidence) == "14 finished trials and 6 pruned ones on 15 validation films"
    assert evidence.missing(MRE) == ""
    assert str(Evidence(19, None, pruned=1)) == "19 finished trials and 1 pruned one"
    assert "there are 19" in Evidence(14, 15, pruned=5).missing(MRE)


def test_pruned_trials_count_in_importances() -> None:
    """With one value of a key no trial finishes, and another key sets the finished ones apart."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(60):
        trial = study.ask()
        deep, other = trial.suggest_int("deep", 0, 1), trial.suggest_float("other", 0, 1)
        trial.report(10.0 + other, 1)
        if deep:
            study.tell(trial, 1.0 + other)
        else:
            study.tell(trial, state=TrialState.PRUNED)
    of_all = {one.key: one.share for one in importances_of(study)}
    of_finished = optuna.importance.get_param_importances(study)
    assert of_all["deep"] > 2 * of_finished["deep"]
    assert len(study.trials) == 60  # nothing was added to the study


def test_the_screen_warns_of_few_films(
    make_search: Callable[..., StudySearch], capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_search().study
    for films, lines in ((1, 2), (5, 1)):
        with Screen(study, (MRE,), 5, 2, Evidence(0, films).warning).shown():
            pass
        said = capsys.readouterr().out.splitlines()
        assert len(said) == lines
        assert ("errors are of 1 validation film: " in said[0]) == (films == 1)


@pytest.mark.parametrize(("fraction", "count"), [(0.05, 1), (0.5, 6)])
def test_a_search_writes_down_how_many_films_it_compares_on(
    fraction: float, count: int, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the 11 drawn Training films."""
    monkeypatch.setattr(command, "search", lambda settings, *options: settings.save())
    overrides = [*(t for t in SMALL if "roi_pool" not in t), f"data.holdout_fraction={fraction}"]
    sets = [part for text in overrides for part in ("--set", text)]
    output = tmp_path / "search"
    start = ["--data", str(films), "--output", str(output)]
    assert command.main([*sets, *start]) == 0
    assert load_settings(output).search.validation_films == count
    assert command.main([*start, "--resume"]) == 0
    assert load_settings(output).search.validation_films == count
