"""The terminal display of a search: numbers of trials, the best so far, the time left.

On a terminal it is a table that stays in place; elsewhere a line for each trial that ends. It
knows trials as Optuna keeps them, and runs nothing.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import optuna
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cephray.progress import duration
from tune.leaderboard import FAILED, FINISHED, PRUNED, Entry, entry_of, leaderboard
from tune.objectives import Objective
from tune.space import Value, describe
from tune.study import ended_trials

LINES = 8  # of trials that ended


class Screen:
    """Shows how far a search is.

    Args:
        study: of the search.
        objectives: of the search.
        trials: how many there are to be.
        epochs: of a whole trial.
        warning: what to bear in mind about the errors, or "".
    """

    def __init__(
        self,
        study: optuna.Study,
        objectives: tuple[Objective, ...],
        trials: int,
        epochs: int,
        warning: str = "",
    ) -> None:
        self._study, self._objectives = study, objectives
        self._trials, self._epochs = trials, epochs
        self._warning = warning
        self._console = Console(highlight=False)
        self._lock = threading.Lock()
        self._running: dict[int, str] = {}
        self._started = time.perf_counter()
        self._ended_before = len(ended_trials(study))

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the table on a terminal for a while; elsewhere, end with the summary."""
        if not self._console.is_terminal:
            if self._warning:
                print(self._warning, flush=True)
            yield
            print(self.summary())
            return
        with Live(get_renderable=self._table, console=self._console, refresh_per_second=2):
            yield

    def begin(self, number: int, values: Mapping[str, Value]) -> None:
        """Take a trial that begins."""
        with self._lock:
            self._running[number] = f"starting; {describe(values)}"

    def advance(self, number: int, epoch: int, mre_mm: float, values: Mapping[str, Value]) -> None:
        """Take an epoch of a trial."""
        with self._lock:
            self._running[number] = (
                f"epoch {epoch}/{self._epochs}, {mre_mm:.2f} mm; {describe(values)}"
            )

    def end(self, number: int) -> None:
        """Take a trial that ended."""
        with self._lock:
            self._running.pop(number, None)
        if not self._console.is_terminal:
            trial = self._study.get_trials(deepcopy=False)[number]
            print(f"{self._ending(entry_of(trial))}  {self.summary()}", flush=True)

    def summary(self) -> str:
        """Return the progress of the search in one line."""
        entries = leaderboard(self._study)
        counts = Counter(entry.state for entry in entries)
        parts = [f"{len(entries)}/{self._trials} trials"]
        parts += [f"{counts[state]} {state}" for state in (PRUNED, FAILED) if counts[state]]
        if entries and entries[0].state == FINISHED:
            parts.append(f"best {self._figures(entries[0])} (trial {entries[0].trial})")
        here = len(entries) - self._ended_before
        left = self._trials - len(entries)
        if here and left > 0:
            each_s = (time.perf_counter() - self._started) / here
            parts.append(f"{duration(each_s * left)} left")
        return "  ".join(parts)

    def _ending(self, entry: Entry) -> str:
        name = f"trial {entry.trial} {entry.state}"
        if entry.state == FAILED:
            return f"{name}: {entry.reason}"
        return (
            f"{name} after epoch {entry.epochs}, {self._figures(entry)}: {describe(entry.values)}"
        )

    def _figures(self, entry: Entry) -> str:
        return ", ".join(
            f"{objective.format(value)} {objective.unit}".rstrip()
            for objective, value in zip(self._objectives, entry.figures, strict=False)
        )

    def _table(self) -> Group:
        table = Table.grid(padding=(0, 2))
        with self._lock:
            for number, text in sorted(self._running.items()):
                table.add_row(f"trial {number}", text)
        last = [entry_of(trial) for trial in ended_trials(self._study)[-LINES:]]
        lines = [Text(self._ending(entry), overflow="ellipsis", no_wrap=True) for entry in last]
        notes = [Text(self._warning)] if self._warning else []
        return Group(*lines, table, *notes, Text(self.summary(), style="bold"))
