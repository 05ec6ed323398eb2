"""The line of each epoch: how long the run still takes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cephray.checkpoint import Row
from cephray.training.history import HistoryWriter

ROW: Row = {
    "loss": 1.0,
    "train_coarse_mre_mm": 9.0,
    "train_refined_mre_mm": 5.0,
    "films_per_s": 2.0,
    "waiting_percent": 1.0,
    "exchange_percent": 1.0,
    "memory_gb": 1.0,
    "score": -1.0,
}


@pytest.fixture
def lines_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Write rows at given seconds after the start of a run; return what was said of each."""

    def write(rows: dict[float, int], epochs: int, earlier: int = 0) -> list[str]:
        clock = {"s": 1000.0}
        monkeypatch.setattr(time, "perf_counter", lambda: clock["s"])
        said: list[str] = []
        before = [{**ROW, "epoch": number} for number in range(1, earlier + 1)]
        writer = HistoryWriter(tmp_path, epochs, before, said.append)
        for seconds, epoch in rows.items():
            clock["s"] = 1000.0 + seconds
            writer.add({**ROW, "epoch": epoch})
        writer.close()
        return said

    return write


@pytest.mark.parametrize(
    ("rows", "epochs", "earlier", "left"),
    [
        # 40 s of start-up, then 4 s an epoch.
        ({44: 1}, 48, 0, [None]),
        ({44: 1, 48: 2, 52: 3}, 48, 0, [None, "3 min 04 s", "3 min 00 s"]),
        ({44: 1, 48: 2}, 2, 0, [None, "0 s"]),
        ({44: 1}, 1, 0, [None]),
        # Resumed: the first epoch of this process has the start-up.
        ({44: 11, 48: 12}, 48, 10, [None, "2 min 24 s"]),
        # Workers are lost in epoch 3, which takes 40 s more, and in epoch 4, which is told twice.
        ({44: 1, 48: 2, 92: 3, 96: 4}, 48, 0, [None, "3 min 04 s", "18 min 00 s", "2 min 56 s"]),
        (
            {44: 1, 48: 2, 52: 3, 92: 3, 96: 4},
            48,
            0,
            [None, "3 min 04 s", "3 min 00 s", "3 min 00 s", "2 min 56 s"],
        ),
    ],
)
def test_time_left_is_that_of_the_epochs_after_the_first(
    rows: dict[float, int],
    epochs: int,
    earlier: int,
    left: list[str | None],
    lines_of: Callable[..., list[str]],
) -> None:
    found = [
        re.search(r"  (\S.*?) left$", line.split("GB")[1])
        for line in lines_of(rows, epochs, earlier)
    ]
    assert [match and match.group(1) for match in found] == left
