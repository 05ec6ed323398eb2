"""The report of a search: leaderboard, `best.yaml`, pictures, and one HTML file with them.

    python -m tune.report --output DIR

writes them anew. It reads the study and the search's settings, and runs nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import optuna
from rich.console import Console
from rich.table import Table

from cephray.cli import Parser, run_command
from cephray.report import fill, png_uri
from cephray.storage import replace_text
from tune.confirmation import load_confirmation
from tune.evidence import Evidence
from tune.interactive import INTERACTIVE, write_interactive
from tune.leaderboard import BEST, FINISHED, LEADERBOARD, PRUNED, Entry, write_results
from tune.outcome import trial_folder
from tune.pictures import Picture, draw
from tune.settings import Settings, load_settings
from tune.space import short, short_names
from tune.study import open_storage, open_study

PAGE, PICTURES = "report.html", "pictures"
TEMPLATE = Path(__file__).with_name("report.html.j2")
WIDTH = 200  # characters of a line that goes to a file


def report(settings: Settings, study: optuna.Study) -> list[Entry]:
    """Write everything, and show the leaderboard; return its entries.

    Raises:
        InputError: the confirmation is broken.
        OSError: a file could not be written.
    """
    entries = write_results(settings, study)
    evidence = evidence_of(settings, entries)
    pictures = draw(
        study, entries, settings.space, settings.objectives, settings.output / PICTURES, evidence
    )
    confirmed = _confirmed(settings, entries)
    page = _page(settings, entries, pictures, evidence, confirmed)
    replace_text(settings.output / PAGE, page)
    write_interactive(study, settings.objectives, settings.output)
    show(settings, entries, evidence, confirmed)
    return entries


def evidence_of(settings: Settings, entries: Sequence[Entry]) -> Evidence:
    """Count what the figures of a search rest on."""
    finished = sum(entry.state == FINISHED for entry in entries)
    pruned = sum(entry.state == PRUNED and bool(entry.figures) for entry in entries)
    return Evidence(finished, settings.search.validation_films, pruned)


def show(settings: Settings, entries: Sequence[Entry], evidence: Evidence, confirmed: str) -> None:
    """Print the leaderboard, and what is to be borne in mind about it.

    Args:
        settings: of the search.
        entries: of the leaderboard.
        evidence: what the figures rest on.
        confirmed: whether the best trial beats the baseline, or how to find out.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    keys = list(settings.space.dimensions)
    table = Table(box=None, pad_edge=False)
    for name in _columns(settings):
        table.add_column(name)
    for entry in entries:
        table.add_row(*_cells(settings, entry, keys))
    console.print(table)
    for entry in entries:
        if entry.reason:
            console.print(f"trial {entry.trial} failed: {entry.reason}", soft_wrap=True)
    notes = [f"Figures rest on {evidence}.", *_notes(settings, evidence), confirmed]
    for note in notes if entries else ():
        console.print(note, soft_wrap=True)
    for name in (LEADERBOARD, BEST, PAGE, INTERACTIVE):
        if (settings.output / name).exists():
            console.print(f"{settings.output / name}", soft_wrap=True)


def _notes(settings: Settings, evidence: Evidence) -> list[str]:
    """List what the figures cannot tell."""
    warning = evidence.warning
    notes = [f"{warning[0].upper()}{warning[1:]}."] if warning else []
    return notes + [text for o in settings.objectives if (text := evidence.missing(o))]


def _confirmed(settings: Settings, entries: Sequence[Entry]) -> str:
    """Say whether the best trial beats the baseline, or how to find out; "" without trials."""
    if not entries:
        return ""
    best = next((entry.trial for entry in entries if entry.is_best), None)
    if best is None or best == 0:
        return "No trial is better than the baseline."
    confirmation = load_confirmation(settings.output)
    if confirmation is not None and confirmation.trial == best:
        return str(confirmation)
    return (
        "The best trial was chosen by its own error, which is therefore too low. Whether it beats "
        f"the baseline is told by: python -m tune.confirm --output {settings.output}"
    )


def _columns(settings: Settings) -> list[str]:
    keys = list(settings.space.dimensions)
    figures = [f"{o.label} {o.unit}".strip() for o in settings.objectives]
    return ["trial", "", *figures, "epochs", "s/epoch", "GB", *short_names(keys).values()]


def _cells(settings: Settings, entry: Entry, keys: Sequence[str]) -> list[str]:
    figures = [o.format(v) for o, v in zip(settings.objectives, entry.figures, strict=False)]
    figures += [""] * (len(settings.objectives) - len(figures))
    state = "best" if entry.is_best else entry.state
    return [
        str(entry.trial),
        state,
        *figures,
        "" if entry.epochs is None else str(entry.epochs),
        "" if entry.seconds_per_epoch is None else f"{entry.seconds_per_epoch:.1f}",
        "" if entry.memory_gb is None else f"{entry.memory_gb:.2f}",
        *(short(entry.values[key]) if key in entry.values else "" for key in keys),
    ]


def _page(
    settings: Settings,
    entries: Sequence[Entry],
    pictures: Sequence[Picture],
    evidence: Evidence,
    confirmed: str,
) -> str:
    """Fill the page: pictures are written into it, and nothing is loaded from elsewhere."""
    keys = list(settings.space.dimensions)
    baseline = settings.space.baseline(settings.base)
    best = next((entry for entry in entries if entry.is_best), None)
    first = next((entry for entry in entries if entry.trial == 0), None)
    sections: dict[str, list[tuple[str, str]]] = {}
    for picture in pictures:
        listed = sections.setdefault(picture.section, [])
        listed.append((picture.caption, png_uri(picture.path)))
    return fill(
        TEMPLATE,
        settings=settings,
        objectives=settings.objectives,
        counts=Counter(entry.state for entry in entries),
        ended=len(entries),
        best=best,
        first=first,
        rows=[
            (key, str(d), short(baseline[key]), short(best.values[key]) if best else "")
            for key, d in settings.space.dimensions.items()
        ],
        columns=_columns(settings),
        table=[(entry, _cells(settings, entry, keys)) for entry in entries],
        failed=[entry for entry in entries if entry.reason],
        sections=sections,
        evidence=evidence,
        confirmed=confirmed,
        notes=_notes(settings, evidence) if entries else [],
        folder=trial_folder(Path(), best.trial) if best else None,
    )


def _run(options: argparse.Namespace) -> None:
    settings = load_settings(options.output.resolve())
    storage = open_storage(options.storage or settings.search.storage, settings.output)
    report(settings, open_study(storage, settings.search.study_name, settings.objectives))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = Parser(
        prog="python -m tune.report",
        description="Write a search's leaderboard, pictures and page anew.",
        allow_abbrev=False,
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="of the search")
    parser.add_argument("--storage", metavar="URL", help="of the study, where it has a password")
    parser.set_defaults(command=_run)
    return run_command(parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
