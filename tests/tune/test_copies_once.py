"""The films of a search are looked at once, whatever the number of its trials and starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cephray.config import Config
from cephray.data import KnownCopies, find_copies, split
from cephray.training import plan_run
from tests.conftest import SMALL
from tune import search as command
from tune import trial
from tune.settings import COPIES, load_settings
from tune.trial import Setting, run_trial


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the number of films of each look so far."""
    counts: list[int] = []

    def counted(paths: list[Path], *options: Any) -> list[tuple[int, int]]:
        counts.append(len(paths))
        return find_copies(paths, *options)

    monkeypatch.setattr(split, "find_copies", counted)
    return counts


@pytest.fixture
def data(films: Path, tmp_path: Path) -> Path:
    """Copy the films; the second of Training shows what the first does."""
    folder = tmp_path / "films"
    shutil.copytree(films, folder)
    first, second, *_ = sorted((folder / "Dataset/Training").iterdir())
    shutil.copyfile(first, second)
    return folder


@pytest.mark.parametrize(("validation", "looked_at"), [("holdout", 11), ("test1", 22)])
def test_trials_and_later_starts_do_not_look_again(
    validation: str,
    looked_at: int,
    data: Path,
    looks: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "search"
    monkeypatch.setattr(command, "search", lambda settings, *options: settings.save())
    sets = [part for text in SMALL if "roi_pool" not in text for part in ("--set", text)]
    start = ["--data", str(data), "--output", str(output), "--validation", validation]
    assert command.main([*sets, *start]) == 0
    assert looks == [looked_at]
    assert command.main([*start, "--resume"]) == 0
    assert looks == [looked_at]

    planned: list[Any] = []

    def launch(planned_run: Any, **options: Any) -> None:
        planned.append(planned_run)
        raise RuntimeError("nothing is trained here")

    monkeypatch.setattr(trial, "launch", launch)
    monkeypatch.setattr(trial, "ray", SimpleNamespace(tune=SimpleNamespace(report=lambda row: 0)))
    setting = Setting(data, output, load_settings(output).base)
    for number in range(3):
        run_trial({"number": number, "values": {"train.learning_rate": 1e-3}}, setting)
    assert len(planned) == 3
    assert looks == [looked_at]

    (output / COPIES).unlink()  # a search of an earlier version has none
    run_trial({"number": 3, "values": {}}, setting)
    assert looks == [looked_at, looked_at]
    for run in planned:  # the same films, looked for or known
        assert [one.film for one in run.training] == [one.film for one in planned[-1].training]
        assert [one.film for one in run.validation] == [one.film for one in planned[-1].validation]


def test_changed_films_are_looked_at_anew(data: Path, tmp_path: Path) -> None:
    paths = sorted((data / "Dataset/Training").iterdir())
    known, count = KnownCopies(), 0

    def pairs(wanted: list[Path]) -> list[tuple[int, int]]:
        def look() -> list[tuple[int, int]]:
            nonlocal count
            count += 1
            return find_copies(wanted)

        return known.find(wanted, look)

    assert pairs(paths) == pairs(paths) == [(0, 1)]
    assert count == 1
    known.save(tmp_path / COPIES)
    known = KnownCopies.load(tmp_path / COPIES)
    assert pairs(paths) == [(0, 1)]
    assert count == 1
    assert pairs(paths[1:]) == []
    assert count == 2
    shutil.copyfile(paths[5], paths[1])
    os.utime(paths[1], ns=(1, 1))
    assert pairs(paths) == [(1, 5)]
    assert count == 3


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"a": 3}', '{"a": [[1]]}'])
def test_a_damaged_file_is_no_file(content: str | None, data: Path, tmp_path: Path) -> None:
    path = tmp_path / COPIES
    if content is not None:
        path.write_text(content)
    assert KnownCopies.load(path).find([data], lambda: [(0, 1)]) == [(0, 1)]


def test_without_a_search_a_run_looks(
    data: Path, looks: list[int], tmp_path: Path, small_config: Callable[..., Config]
) -> None:
    plan_run(data, tmp_path / "run", small_config("data.validation=holdout"))
    assert looks == [11]
