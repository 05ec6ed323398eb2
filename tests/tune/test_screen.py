"""The screen: what it says of trials that run, that ended, and of the search as a whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.console import Console

from tests.tune.conftest import tell
from tune.objectives import MRE
from tune.outcome import EPOCH, FAILED, OUTCOME, REASON
from tune.screen import Screen
from tune.searcher import StudySearch


def test_trials_are_shown_as_they_run_and_end(
    make_search: Callable[..., StudySearch], capsys: pytest.CaptureFixture[str]
) -> None:
    search = make_search(trials=5, has_room=lambda values: True)
    screen = Screen(search.study, (MRE,), 5, 2)

    def table() -> str:
        console = Console(width=120)
        with console.capture() as captured:
            console.print(screen._table())
        return captured.get()

    assert "0/5 trials" in table()
    choices = [search.suggest(f"{number}") for number in range(4)]
    for choice in choices:
        screen.begin(choice["number"], choice["values"])
    assert "trial 3  starting; roi_pool_size" in table()
    screen.advance(3, 1, 4.321, choices[3]["values"])
    assert "trial 3  epoch 1/2, 4.32 mm; roi_pool_size" in table()

    tell(search, "0", choices[0]["values"])
    screen.end(0)
    search.on_trial_complete("1", {EPOCH: 1, MRE.key: 8.5})
    screen.end(1)
    search.on_trial_complete("2", {OUTCOME: FAILED, REASON: "the loss is nan"})
    screen.end(2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("trial 0 finished after epoch 2, 1.833 mm: roi_pool_size 5, ")
    assert "1/5 trials  best 1.833 mm (trial 0)  " in lines[0]
    assert lines[0].endswith(" left")
    assert lines[1].startswith("trial 1 pruned after epoch 1, 8.500 mm: ")
    assert lines[2].startswith("trial 2 failed: the loss is nan  3/5 trials  1 pruned  1 failed")
    text = table()
    assert "trial 0 finished" in text
    assert "trial 3  epoch 1/2" in text
    assert "trial 1  " not in text
