"""The confirmation of a search: which runs it makes, what they show, and what the page says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cephray.config import Config, load_config, override
from cephray.data import KnownCopies
from cephray.errors import InputError
from cephray.storage import place
from tests.tune.conftest import SPACE, run
from tune.confirm import RUNS, main, pairs_of
from tune.confirmation import FILE, Measured, confirm, load_confirmation
from tune.leaderboard import leaderboard
from tune.report import PAGE, report
from tune.searcher import StudySearch
from tune.settings import Search, Settings

MakeSearch = Callable[..., StudySearch]


def measured(differences: list[list[float]], seed: int = 0) -> list[Measured]:
    """Make pairs of runs with these differences of their films, no film twice."""
    rng = np.random.default_rng(seed)
    pairs = []
    for fold, values in enumerate(differences):
        baseline_mm = rng.uniform(1, 2, len(values))
        films = tuple(f"{fold}-{n}" for n in range(len(values)))
        pairs.append(Measured(fold, fold, films, baseline_mm, baseline_mm + values))
    return pairs


def test_the_interval_is_that_of_the_mean_difference() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(-0.05, 0.1, (3, 40))
    found = confirm(7, measured(values.tolist()))
    assert found.trial == 7
    assert found.films == 120
    assert found.difference_mm == pytest.approx(values.mean())
    assert found.best_mm - found.baseline_mm == pytest.approx(values.mean())
    half = 1.96 * values.std(ddof=1) / np.sqrt(values.size)
    assert found.low_mm == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high_mm == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert found.is_better
    assert [pair.difference_mm for pair in found.pairs] == pytest.approx(values.mean(axis=1))


@pytest.mark.parametrize(
    "differences",
    [
        [[-0.5] * 9, [-0.5] * 9, [0.01] * 9],  # one pair shows the contrary
        [[-1.0, 0.9] * 4, [-1.0, 0.9] * 4, [-1.0, 0.9] * 4],  # films differ too much
        [[0.1] * 9] * 3,
    ],
)
def test_what_may_be_chance_is_not_called_better(differences: list[list[float]]) -> None:
    found = confirm(1, measured(differences))
    assert not found.is_better
    assert "is not shown to beat" in str(found)


def test_a_film_that_was_held_out_twice_counts_once() -> None:
    errors = np.array([1.0, 2.0])
    pairs = [
        Measured(0, 1, ("a", "b"), errors, errors + 1),
        Measured(0, 2, ("a", "b"), errors, errors - 3),
    ]
    found = confirm(1, pairs)
    assert found.films == 2
    assert found.difference_mm == -1
    assert found.low_mm == found.high_mm == -1


def test_the_fold_that_chose_is_left_out() -> None:
    base = override(
        load_config(),
        {"data.validation": "holdout", "data.holdout_fraction": 0.2, "data.fold": 1},
    )
    assert pairs_of(base, 6) == [(0, 1), (2, 2), (3, 3), (4, 4), (0, 5), (2, 6)]
    on_test1 = override(base, {"data.validation": "test1"})
    assert pairs_of(on_test1, 2) == [(0, 1), (1, 2)]
    whole = override(base, {"data.fold": 0, "data.holdout_fraction": 0.9})
    assert pairs_of(whole, 2) == [(0, 1), (0, 2)]


def test_a_file_has_it_all(tmp_path: Path) -> None:
    assert load_confirmation(tmp_path) is None
    found = confirm(3, measured([[-0.1, -0.2], [0.1, 0.0]]))
    found.save(tmp_path)
    assert load_confirmation(tmp_path) == found
    (tmp_path / FILE).write_text('{"trial": 3}')
    with pytest.raises(InputError, match="is broken"):
        load_confirmation(tmp_path)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    search = Search(data="/films", trials=8, grace_epochs=1, study_name="search")
    return Settings(tmp_path, search, override(load_config(), {"train.epochs": 2}), SPACE)


def test_the_page_says_what_was_found_or_how_to_find_it(
    make_search: MakeSearch, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    search = make_search(trials=8)
    run(search, count=1)
    report(settings, search.study)
    assert "No trial is better than the baseline." in capsys.readouterr().out
    run(search)
    [best] = [entry.trial for entry in leaderboard(search.study) if entry.is_best]
    assert best != 0
    report(settings, search.study)
    assert f"tune.confirm --output {settings.output}" in capsys.readouterr().out
    assert "tune.confirm" in (settings.output / PAGE).read_text()
    found = confirm(best, measured([[-0.1, -0.2], [-0.1, -0.2]]))
    found.save(settings.output)
    report(settings, search.study)
    assert str(found) in capsys.readouterr().out
    assert "beats the baseline beyond noise" in (settings.output / PAGE).read_text()
    confirm(best + 1, measured([[-0.1, -0.2]])).save(settings.output)  # of an earlier best trial
    report(settings, search.study)
    assert "beats the baseline beyond" not in (settings.output / PAGE).read_text()


def test_wrong_input_is_one_line(
    make_search: MakeSearch, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(settings.output)
    for arguments, said in (
        (["--output", output + "-none"], "holds no search"),
        (["--output", output, "--seeds", "0"], "--seeds: must be at least 1; got 0"),
        (["--output", output], "no trial has finished"),
    ):
        if "no trial" in said:
            settings.save()
            make_search(trials=1)
        assert main(arguments) == 2
        [line] = capsys.readouterr().err.strip().splitlines()
        assert said in line
    run(make_search(trials=1))
    assert main(["--output", output]) == 2
    assert "the best trial is the baseline" in capsys.readouterr().err


@pytest.mark.slow
def test_both_configurations_are_trained_again(
    films: Path,
    tmp_path: Path,
    make_search: MakeSearch,
    small_config: Callable[..., Config],
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = small_config(
        "data.validation=holdout", "model.roi_pool_size=5", "train.epochs=1",
        "train.cpus_per_worker=1",
    )  # fmt: skip
    search = Search(data=str(films), trials=2, grace_epochs=1, study_name="search")
    Settings(tmp_path, search, base, SPACE).save()
    run(make_search(trials=12))
    arguments = ["--output", str(tmp_path), "--seeds", "1"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    found = load_confirmation(tmp_path)
    assert found is not None
    assert str(found) in said
    assert found.pairs[0].fold == 1
    runs = sorted((tmp_path / RUNS).iterdir())
    assert len(runs) == 2
    [best, baseline] = [load_config(folder / "config.yaml") for folder in reversed(runs)]
    assert baseline.model.roi_pool_size == 5
    assert best.model.roi_pool_size == 7
    assert baseline.data.fold == best.data.fold == 1
    (tmp_path / FILE).unlink()
    times = [(folder / "history.csv").stat().st_mtime_ns for folder in runs]
    assert main(arguments) == 0  # the runs are kept
    assert times == [(folder / "history.csv").stat().st_mtime_ns for folder in runs]
    assert load_confirmation(tmp_path) == found


@pytest.mark.slow
def test_a_run_that_fails_says_why_and_ends_no_other(
    cluster: None, films: Path, tmp_path: Path, small_config: Callable[..., Config]
) -> None:
    from tune.rerun import train_side_by_side

    good = small_config(
        "train.epochs=1",
        "train.cpus_per_worker=1",
        "train.wait_for_resources_s=60",
        "data.validation=test1",
    )
    too_large = override(good, {"train.cpus_per_worker": 64, "train.wait_for_resources_s": 2})
    runs = {tmp_path / "too-large": too_large, tmp_path / "good": good}
    lines: list[str] = []
    data, books = place(str(films)), tmp_path / "books"
    failures = train_side_by_side(runs, data, KnownCopies(), books, 2, lines.append)
    assert len(failures) == 1, failures
    [failed] = failures
    assert failed.startswith("too-large failed: ")
    assert "asked for 1 worker of 64 CPUs" in failed
    assert sorted(line[:10] for line in lines) == ["good: vali", "too-large "]
    assert (tmp_path / "good" / "epoch-0001").is_dir()
