"""The rows of docs/results.md, each from its runs: trained, evaluated, and written down.

    python scripts/results.py --data DATA --output DIR [--only NAME ...]

Runs are kept in DIR and resumed. `results.json` says with each row from which commit and seeds it
came, how long training took and on what machine; `results.md` is the tables.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cephray import __version__
from cephray.cli import Parser, run_command
from cephray.config import load_config
from cephray.errors import InputError
from cephray.evaluation import evaluate
from cephray.storage import Place, place, replace_text
from cephray.training import train

RUNS = Path(__file__).with_name("results.yaml")
INCLUDED = "included"
THRESHOLDS = ("2.0", "2.5", "3.0", "4.0")


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Args:
        name: as `--only` takes it.
        title: as the table shows it.
        split: films that it is measured on.
        runs: networks; several are an ensemble. Empty if it is a mean of rows.
        mean_of: names of the rows that it is the mean of.
        subsets: whether the table shows parts of the films as well.
    """

    name: str
    title: str
    split: str
    runs: tuple[str, ...] = ()
    mean_of: tuple[str, ...] = ()
    subsets: bool = False


@dataclass(frozen=True)
class Table:
    """A table: its rows, and how many settings were compared on its films before."""

    title: str
    choices: int
    rows: tuple[Row, ...]


def read_plan(path: Path = RUNS) -> tuple[dict[str, Any], tuple[Table, ...]]:
    """Read the settings of the runs, by name, and the tables.

    Raises:
        InputError: a row names a run or a row that there is not, or runs that do not go together.
    """
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    tables = tuple(
        Table(
            one["title"],
            one["choices"],
            tuple(
                Row(
                    row["name"],
                    row["title"],
                    one["split"],
                    tuple(row.get("runs", ())),
                    tuple(row.get("mean_of", ())),
                    row.get("subsets", False),
                )
                for row in one["rows"]
            ),
        )
        for one in tree["tables"]
    )
    rows = {row.name for table in tables for row in table.rows}
    for table in tables:
        for row in table.rows:
            unknown = ({*row.runs} - {*tree["runs"], INCLUDED}) | ({*row.mean_of} - rows)
            if unknown:
                raise InputError(f"{path}: row {row.name}: unknown {', '.join(sorted(unknown))}")
            if bool(row.runs) == bool(row.mean_of):
                raise InputError(f"{path}: row {row.name}: give runs, or rows to take the mean of")
            if INCLUDED in row.runs and len(row.runs) > 1:
                raise InputError(f"{path}: row {row.name}: {INCLUDED} cannot be in an ensemble")
    return tree["runs"], tables


def measure_row(row: Row, runs: Mapping[str, Any], data: Place, output: Path) -> dict[str, Any]:
    """Train what a row needs and is not there yet, and measure it.

    Args:
        row: no mean of others.
        runs: settings of the runs, by name.
        data: the data set.
        output: folder of the runs.
    """
    minutes = {}
    for name in row.runs:
        if name == INCLUDED:
            continue
        run = runs[name]
        config = load_config(run["config"], [*run.get("also", ()), *run["set"]])
        print(f"run {name}", flush=True)
        best = train(config, data=data, output=output / name, resume=True)
        minutes[name] = sum(epoch["seconds"] for epoch in best.progress.history) / 60
    checkpoints = [output / name for name in minutes] or None  # None: the one of cephray
    found = evaluate(checkpoints, data=data, split=row.split).to_json()
    return {
        "split": row.split,
        "runs": {name: runs[name] for name in minutes},
        "training_minutes": [round(one, 1) for one in minutes.values()],
        **origin(),
        **_figures(row.title, found),
        "subsets": [_figures(one["title"], one) for one in found["subsets"] if row.subsets],
    }


def _figures(title: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures that a table shows, of both stages."""
    keys = ("mre_mm", "mre_mm_interval", "sdr_percent", "sdr_percent_interval")
    return {
        "title": title,
        "films": found["films"],
        **{key: found[key] for key in keys},
        "coarse": {key: found["coarse"][key] for key in keys},
    }


def mean_row(row: Row, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mean of other rows. It has no interval, for the rows share their films."""
    parts = [measured[name] for name in row.mean_of]

    def mean(of: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        rates = {
            threshold: sum(one["sdr_percent"][threshold] for one in of) / len(of)
            for threshold in THRESHOLDS
        }
        return {"mre_mm": sum(one["mre_mm"] for one in of) / len(of), "sdr_percent": rates}

    return {
        "title": row.title,
        "mean_of": list(row.mean_of),
        "films": parts[0]["films"],
        **mean(parts),
        "coarse": mean([part["coarse"] for part in parts]),
        "subsets": [],
    }


def origin() -> dict[str, Any]:
    """Return where a figure comes from: version, commit, and machine."""
    folder = Path(__file__).parent
    told = {}
    for name, command in (
        ("commit", ["rev-parse", "HEAD"]),
        ("changed", ["status", "-s", "-uno"]),
    ):
        done = subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True)
        told[name] = done.stdout.strip() if done.returncode == 0 else None
    machine = f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}"
    return {
        "version": __version__,
        "commit": told["commit"],
        "is_changed": bool(told["changed"]),
        "machine": machine,
    }


def to_markdown(tables: Sequence[Table], measured: Mapping[str, Any]) -> str:
    """Return the tables of the rows that were measured."""
    lines = []
    for table in tables:
        rows = [row for row in table.rows if row.name in measured]
        if not rows:
            continue
        lines += [
            f"## {table.title}",
            "",
            f"Settings compared on these films: {table.choices}.",
            "",
        ]
        lines += ["| | films | MRE | within 2 / 2.5 / 3 / 4 mm | stage one | training |"]
        lines += ["|---|---|---|---|---|---|"]
        for row in rows:
            found = measured[row.name]
            minutes = " + ".join(f"{one:.0f} min" for one in found.get("training_minutes", ()))
            lines.append(_line(row.title, found, minutes))
            lines += [_line(f"{row.title}, {one['title']}", one, "") for one in found["subsets"]]
        lines.append("")
    return "\n".join(lines)


def _line(title: str, found: Mapping[str, Any], minutes: str) -> str:
    rates = found["sdr_percent"]
    interval = found.get("sdr_percent_interval", {}).get("2.0")
    parts = [f"{rates[THRESHOLDS[0]]:.1f}{_interval(interval, 1)}"]
    parts += [f"{rates[threshold]:.1f}" for threshold in THRESHOLDS[1:]]
    cells = [title, str(found["films"]), _error(found), " / ".join(parts), _error(found["coarse"])]
    return f"| {' | '.join([*cells, minutes])} |"


def _error(found: Mapping[str, Any]) -> str:
    return f"{found['mre_mm']:.2f}{_interval(found.get('mre_mm_interval'), 2)}"


def _interval(interval: Sequence[float] | None, digits: int) -> str:
    if interval is None:
        return ""
    low, high = interval
    return f" [{low:.{digits}f}, {high:.{digits}f}]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; return its exit code."""
    return run_command(make_parser(), arguments)


def make_parser() -> Parser:
    """Return the parser of the script's options."""
    parser = Parser(prog="results.py", description="Measure the rows of docs/results.md.")
    add = parser.add_argument
    add("--data", type=place, required=True, metavar="DIR|URI", help="data set")
    add("--output", type=Path, required=True, metavar="DIR", help="of runs and results")
    add("--only", action="append", metavar="ROW", help="measure this row; repeat it")
    add("--plan", type=Path, default=RUNS, metavar="FILE", help="of runs and rows")
    parser.set_defaults(command=_run)
    return parser


def _run(options: argparse.Namespace) -> None:
    runs, tables = read_plan(options.plan)
    rows = {row.name: row for table in tables for row in table.rows}
    for name in options.only or ():
        if name not in rows:
            raise InputError(f"--only {name}: no such row; there are {', '.join(rows)}")
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "results.json"
    measured = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in options.only or rows:
        row = rows[name]
        if row.mean_of:
            missing = [one for one in row.mean_of if one not in measured]
            if missing:
                raise InputError(f"--only {name}: measure {', '.join(missing)} first")
            measured[name] = mean_row(row, measured)
        else:
            measured[name] = measure_row(row, runs, options.data, options.output)
        replace_text(path, json.dumps(measured, indent=1))
        replace_text(options.output / "results.md", to_markdown(tables, measured))
        print(_line(row.title, measured[name], ""), flush=True)


if __name__ == "__main__":
    sys.exit(main())
