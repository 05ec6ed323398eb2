"""Several drivers on one study: no trial is drawn twice, and none is lost with its driver."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from cephray.errors import InputError
from tests.tune.conftest import TRIALS, numbers, run, tell
from tune.drivers import FOLDER, SILENT_S, driving
from tune.outcome import DRIVER
from tune.searcher import StudySearch
from tune.settings import JOURNAL
from tune.study import open_storage

MakeSearch = Callable[..., StudySearch]


def test_one_driver_at_a_time_unless_others_are_wanted(tmp_path: Path) -> None:
    with driving(tmp_path, join=False) as first:
        assert first.is_alone()
        with pytest.raises(
            InputError, match=rf"running there \({first.name}\); with --join, this"
        ):
            driving(tmp_path, join=False).__enter__()
        with driving(tmp_path, join=True) as second:
            assert not first.is_alone()
            assert first.lives(second.name)
            assert second.lives(first.name)
            assert first.lives(first.name)
        assert first.is_alone()
        assert not first.lives(second.name)
        assert not first.lives(None)
    with driving(tmp_path, join=False):
        pass
    assert not list((tmp_path / FOLDER).glob("*.driver"))


def be_a_driver(output: str, pipe: Any) -> None:
    """Drive until this process is killed."""
    with driving(Path(output), join=True) as driver:
        pipe.send(driver.name)
        time.sleep(60)


def test_a_driver_that_was_killed_is_dead_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    own, theirs = context.Pipe()
    process = context.Process(target=be_a_driver, args=(str(tmp_path), theirs), daemon=True)
    process.start()
    name = own.recv()
    with driving(tmp_path, join=True) as driver:
        assert driver.lives(name)
        process.kill()
        process.join(10)
        assert not driver.lives(name)
        assert driver.is_alone()


@pytest.mark.parametrize(
    ("silent_s", "lives"), [(0, True), (SILENT_S - 5, True), (SILENT_S, False)]
)
def test_a_driver_of_another_machine_lives_while_its_file_is_touched(
    silent_s: float, lives: bool, tmp_path: Path
) -> None:
    with driving(tmp_path, join=False) as driver:
        path = tmp_path / FOLDER / "elsewhere-9-abcd.driver"
        path.touch()
        past = path.stat().st_mtime - silent_s
        os.utime(path, (past, past))
        assert driver.lives("elsewhere-9-abcd") is lives
        assert driver.is_alone() is not lives
    assert socket.gethostname() != "elsewhere"


def test_drivers_share_the_trials(make_search: MakeSearch, tmp_path: Path) -> None:
    drivers = [make_search() for _ in range(3)]
    suggested = []
    for number in range(30):
        search = drivers[number % 3]
        choice = search.suggest(f"{number}")
        if choice == search.FINISHED:
            break
        suggested.append(choice)
        tell(search, f"{number}", choice["values"])
    assert [choice["number"] for choice in suggested] == list(range(TRIALS))
    trials = drivers[0].study.trials
    assert len({trial.user_attrs[DRIVER] for trial in trials}) == 3
    alone = tmp_path / "alone"
    alone.mkdir()
    assert run(make_search(alone)) == suggested  # as one driver draws them


def test_what_a_dead_driver_left_is_taken_up_once(
    make_search: MakeSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with driving(tmp_path, join=True) as living, driving(tmp_path, join=True) as other:
        dead, first, second = (make_search() for _ in range(3))
        first.driver, second.driver = living, other
        left = dead.suggest("left")
        assert first.suggest("held") == left  # by a driver that lives: nobody else takes it
        rest: list[int] = []
        while True:
            choice = second.suggest(f"{len(rest)}")
            if choice == second.FINISHED:
                break
            tell(second, f"{len(rest)}", choice["values"])
            rest.append(choice["number"])
        assert rest == list(range(1, TRIALS))
        [held] = [t for t in second.study.trials if t.state == TrialState.RUNNING]
        assert (held.number, held.user_attrs[DRIVER]) == (0, living.name)
        second.driver = replace(other, name=f"{other.name}-later")
        with monkeypatch.context() as patch:
            patch.setattr("tune.drivers._lives", lambda folder, name: False)
            assert second.suggest("again") == left


def test_half_a_line_in_the_journal_is_removed_before_the_next(
    make_search: MakeSearch, tmp_path: Path
) -> None:
    one, other = make_search(), make_search()
    run(one, count=2)
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code":4,"wor')  # of a third driver, which was killed
    run(other, count=2)
    [name] = optuna.get_all_study_names(storage := open_storage(None, tmp_path))
    assert numbers(optuna.load_study(study_name=name, storage=storage)) == [0, 1, 2, 3]
