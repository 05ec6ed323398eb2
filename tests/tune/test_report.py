"""The report: the order of trials, `best.yaml`, pictures with something on them, a closed page."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cephray.config import load_config, override
from tests.tune.conftest import SPACE, run, tell
from tune.follow import forget_checkpoints
from tune.interactive import INTERACTIVE
from tune.leaderboard import leaderboard, write_results
from tune.objectives import MRE
from tune.outcome import (
    COMPLETE,
    EPOCH,
    FAILED,
    MEMORY,
    OUTCOME,
    PARAMETERS,
    REASON,
    SECONDS,
    trial_folder,
)
from tune.report import PAGE, PICTURES, report
from tune.searcher import StudySearch
from tune.settings import Search, Settings

MakeSearch = Callable[..., StudySearch]
COSTS = {SECONDS: 3.0, MEMORY: 1.5}
REASONS = ["the loss is nan <script>alert(1)</script>", "asked for 1 worker of 64 CPUs each"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    search = Search(data="/films", trials=8, grace_epochs=1, study_name="search")
    base = override(load_config(), {"train.cpus_per_worker": 2, "train.epochs": 2})
    return Settings(tmp_path, search, base, SPACE)


@pytest.fixture
def search(make_search: MakeSearch) -> StudySearch:
    """Five finished trials, one pruned, two failed."""
    search = make_search(trials=8)
    run(search, count=4)
    results: list[dict[str, Any]] = [
        {EPOCH: 1, MRE.key: 50.0, **COSTS},
        {OUTCOME: FAILED, REASON: REASONS[0]},
        {OUTCOME: COMPLETE, EPOCH: 2, MRE.key: 0.5, **COSTS, PARAMETERS: 1234},
        {OUTCOME: FAILED, REASON: REASONS[1]},
    ]
    for number, result in enumerate(results):
        search.suggest(f"{number}")
        search.on_trial_complete(f"{number}", result)
    return search


def test_the_leaderboard_is_ordered(search: StudySearch, settings: Settings) -> None:
    entries = leaderboard(search.study)
    assert [entry.state for entry in entries] == ["finished"] * 5 + ["pruned"] + ["failed"] * 2
    errors = [entry.figures[0] for entry in entries[:5]]
    assert errors == sorted(errors)
    assert [entry.trial for entry in entries if entry.is_best] == [6]
    assert entries[5].figures == (50.0,)
    write_results(settings, search.study)
    with (settings.output / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == [entry.trial for entry in entries]
    assert rows[0]["mre_mm"] == "0.5"
    assert rows[0]["parameters"] == "1234"
    assert rows[0]["best"] == "yes"
    assert [row["reason"] for row in rows[-2:]] == REASONS
    for row, entry in zip(rows, entries, strict=True):
        for key, value in entry.values.items():
            assert float(row[key]) == value


def test_the_best_configuration_is_the_base_with_its_values(
    search: StudySearch, settings: Settings
) -> None:
    write_results(settings, search.study)
    values = search.study.trials[6].params
    assert load_config(settings.output / "best.yaml") == override(settings.base, values)


class _Sources(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_holds_everything_and_loads_nothing(
    search: StudySearch, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    report(settings, search.study)
    page = (settings.output / PAGE).read_text()
    parser = _Sources()
    parser.feed(page)
    assert parser.sources
    assert all(source.startswith("data:image/png;base64,") for source in parser.sources)
    assert not {"script", "link", "iframe", "object"} & set(parser.tags)
    assert not re.search(r"url\(|@import|https?:", page)
    assert "the loss is nan &lt;script&gt;" in page
    assert "5 finished, 1 pruned, 2 failed" in " ".join(page.split())
    pictures = sorted((settings.output / PICTURES).glob("*.png"))
    assert len(pictures) == len(parser.sources) == 2 + 1 + 3 + 3
    for path in pictures:
        image = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        assert np.mean(image < 128) > 0.002, path
    said = capsys.readouterr().out
    for reason in REASONS:
        assert reason in said


def test_interactive_pictures_are_on_one_page_that_loads_nothing(
    search: StudySearch, settings: Settings
) -> None:
    report(settings, search.study)
    page = (settings.output / INTERACTIVE).read_text()
    parser = _Sources()
    parser.feed(page)
    assert parser.sources == []
    assert "link" not in parser.tags
    assert page.count("Plotly.newPlot(") >= 4
    for key in SPACE.dimensions:
        assert key in page


def test_a_report_without_plotly(
    search: StudySearch, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune.interactive.find_spec", lambda name: None)
    report(settings, search.study)
    assert (settings.output / PAGE).exists()
    assert not (settings.output / INTERACTIVE).exists()


def test_a_report_of_nothing_yet(make_search: MakeSearch, settings: Settings) -> None:
    search = make_search()
    report(settings, search.study)
    assert "No trial has finished" in (settings.output / PAGE).read_text()
    assert not (settings.output / "best.yaml").exists()
    search.suggest("0")
    search.on_trial_complete("0", {OUTCOME: FAILED, REASON: "no"})
    report(settings, search.study)
    tell(search, "1", search.suggest("1")["values"])
    report(settings, search.study)
    assert len(list((settings.output / PICTURES).glob("*.png"))) == 2 + 1 + 3 + 3


def test_checkpoints_of_the_best_alone_are_kept(search: StudySearch, tmp_path: Path) -> None:
    folders: dict[int, Any] = {}
    for trial in search.study.trials:
        folders[trial.number] = trial_folder(tmp_path, trial.number)
        (folders[trial.number] / "epoch-0002").mkdir(parents=True)
        (folders[trial.number] / "history.csv").touch()
    forget_checkpoints(tmp_path, leaderboard(search.study))
    kept = [number for number, folder in folders.items() if (folder / "epoch-0002").exists()]
    assert kept == [6]
    assert all((folder / "history.csv").exists() for folder in folders.values())
