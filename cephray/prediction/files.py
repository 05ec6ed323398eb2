"""The files of a prediction: a JSON file and a picture of each film, and tables of all.

It knows results and paths, and no network.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from cephray.data import (
    LANDMARK_TABLE,
    MEASUREMENT_TABLE,
    RESULT_SUFFIXES,
    UPRIGHT,
    FilmFile,
    Orientation,
)
from cephray.errors import InputError, RunError, Stopped
from cephray.prediction.films import GIVEN, Outcome, Output
from cephray.storage import Place, RemotePath, replace_bytes, replace_text

_MOST_NAMED = 5  # films in a summary


@dataclass
class Summary:
    """Summary of a prediction: numbers of films, spacings, doubtful and righted films, notes."""

    written: int = 0
    unread: list[str] = field(default_factory=list)  # a line each, in the films' order
    spacing_sources: Counter[str | None] = field(default_factory=Counter)
    doubtful: dict[str, list[str]] = field(default_factory=dict)  # film: reasons
    righted: dict[str, list[str]] = field(default_factory=dict)  # film: how it lies
    notes: dict[str, list[str]] = field(default_factory=dict)  # film: what was left out

    def __str__(self) -> str:
        """Return where the films' spacings are from."""
        notes = (note for noted in self.notes.values() for note in noted)
        left_out = any(note.startswith(f"{GIVEN} left out") for note in notes)
        cure = f"{GIVEN} is impossible for them" if left_out else f"{GIVEN} MM gives it"
        told = {None: f"unknown ({cure})", GIVEN: f"by {GIVEN}"}
        counts = self.spacing_sources.most_common()
        return "spacing of films: " + ", ".join(
            f"{count} {told.get(source, f'by their {source}')}" for source, count in counts
        )

    def lines(self) -> list[str]:
        """Return the lines about doubtful and righted films and about notes, if there are any."""
        lines = []
        if self.doubtful:
            lines.append(f"doubtful films: {len(self.doubtful)} of {self.written}")
            lines += _named(self.doubtful)
        if self.righted:
            lines.append(f"films that were righted: {len(self.righted)} of {self.written}")
            lines += _named(self.righted)
        if self.notes:
            lines.append(f"films with notes: {len(self.notes)} of {self.written}")
            lines += _named(self.notes)
        return lines


def _named(texts: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a line for each of the first few films."""
    films = list(texts)
    lines = [f"  {film}: {'; '.join(texts[film])}" for film in films[:_MOST_NAMED]]
    more = len(films) - len(lines)
    return [*lines, f"  and {more} more, told in their JSON files"] if more else lines


def write_results(
    outcomes: Iterable[Outcome],
    files: Sequence[FilmFile],
    output: Place,
    progress: Callable[[int], None] = lambda films: None,
) -> Summary:
    """Write `NAME.json` and `NAME.png` of each film as it comes, and the tables at the end.

    The tables are written even where something ends the prediction early: of the films so far.

    Args:
        outcomes: of the films, in any order.
        files: the films.
        output: folder of the results, local or in an object store; made once there is one.
        progress: called with the number of films done since the last call.

    Raises:
        RunError: a result could not be written.
        Stopped: by a signal; says how many results there are.
    """
    summary = Summary()
    results: dict[int, dict[str, Any]] = {}
    unread: dict[int, str] = {}
    try:
        for number, outcome in outcomes:
            if isinstance(outcome, Output):
                write_output(outcome, output / files[number].name)
                results[number] = outcome.facts
            else:
                unread[number] = str(outcome)
            progress(1)
    except Stopped as stopped:
        done = f"{len(results)} of {len(files)} films have their results in {output}"
        raise Stopped(stopped.signal, f"{stopped}; {done}") from None
    finally:
        if results:
            _write_tables(output, [results[number] for number in sorted(results)])
    summary.written = len(results)
    summary.unread = [unread[number] for number in sorted(unread)]
    for _, facts in sorted(results.items()):
        summary.spacing_sources[facts["spacing_source"]] += 1
        for found, key in ((summary.doubtful, "doubtful"), (summary.notes, "notes")):
            if facts[key]:
                found[facts["film"]] = facts[key]
        orientation = Orientation(**facts["orientation"])
        if orientation != UPRIGHT:
            summary.righted[facts["film"]] = [str(orientation)]
    return summary


def require_own_output(output: Place, files: Sequence[FilmFile]) -> None:
    """Refuse an output folder that cannot be one, or whose results would overwrite a film.

    Raises:
        InputError: names the folder, and the film.
    """
    if isinstance(output, RemotePath):
        _require_own_remote(output, files)
        return
    lowest = next(path for path in (output, *output.absolute().parents) if path.exists())
    if not lowest.is_dir():
        raise InputError(f"output {output}: {lowest} is a file; give a folder")
    if not os.access(lowest, os.W_OK):
        raise InputError(f"output {output}: {lowest} cannot be written to; give another folder")
    here = output.resolve()
    results = {here / f"{name}{suffix}" for name, _ in files for suffix in RESULT_SUFFIXES}
    results |= {here / LANDMARK_TABLE, here / MEASUREMENT_TABLE}
    there = {path.resolve() for path in results}  # a link may lead to a film
    for _, path in files:
        if path.resolve() in there:
            raise _overwrites(output, path)
    folders = {here / above for name, _ in files for above in PurePath(name).parents}
    for folder in sorted(folders):
        if folder.exists() and not folder.is_dir():
            raise InputError(
                f"output {output}: {folder} is a file, and a folder of results would have its"
                " name; give another folder"
            )
    for path in sorted(results):
        if path.is_dir():
            raise InputError(
                f"output {output}: {path} is a folder, and a file of results would have its name;"
                " give another folder"
            )


def _require_own_remote(output: RemotePath, files: Sequence[FilmFile]) -> None:
    if not output.name:
        raise InputError(f"output {output}: is a whole bucket; give a folder in it")
    if output.is_file():
        raise InputError(f"output {output}: is a file; give a folder")
    results = {f"{name}{suffix}" for name, _ in files for suffix in RESULT_SUFFIXES}
    results |= {LANDMARK_TABLE, MEASUREMENT_TABLE}
    for _, path in files:
        if not (isinstance(path, RemotePath) and path.is_relative_to(output)):
            continue
        if path.relative_to(output).as_posix() in results:
            raise _overwrites(output, path)


def _overwrites(output: Place, film: Place) -> InputError:
    return InputError(
        f"output {output}: the results would overwrite film {film}; give another folder"
    )


def write_output(result: Output, stem: Place) -> None:
    """Write the picture, then the JSON file: where this is, both are whole.

    Args:
        result: of a film; nothing is written if its files are written already.
        stem: path of the files without their suffixes.

    Raises:
        RunError: a file could not be written.
    """
    if not result.picture:
        return
    picture, facts = (stem.with_name(f"{stem.name}{suffix}") for suffix in (".png", ".json"))
    try:
        if isinstance(stem, Path):  # a folder in a store needs no making
            stem.parent.mkdir(parents=True, exist_ok=True)
        replace_bytes(picture, result.picture)
        replace_text(facts, json.dumps(result.facts, indent=1))
    except OSError as error:
        raise RunError(f"results {stem}.* could not be written: {error}; make room") from None


def _write_tables(output: Place, results: Sequence[dict[str, Any]]) -> None:
    """Write a row for each landmark, and a row for each film with all that was measured."""
    columns = list(results[0]["landmarks"][0])[1:]  # after the name
    with _table(output / LANDMARK_TABLE) as table:
        table.writerow(["film", "landmark", *columns, "doubtful"])
        for result in results:
            for point in result["landmarks"]:
                cells = [point[column] for column in columns]
                doubtful = "; ".join(result["doubtful"])
                table.writerow([result["film"], point["name"], *cells, doubtful])
    measurements = results[0]["measurements"]
    if not measurements:
        return
    with _table(output / MEASUREMENT_TABLE) as table:
        titles = [
            (f"{name}_{unit}", f"{name}_sd", f"{name}_class", f"{name}_meaning")
            for name, unit in ((found["name"], found["unit"]) for found in measurements)
        ]
        table.writerow(["film", *(title for four in titles for title in four)])
        for result in results:
            cells = [
                (m["value"], m["sd"], m["class"], m["meaning"]) for m in result["measurements"]
            ]
            table.writerow([result["film"], *(cell for four in cells for cell in four)])


@contextmanager
def _table(path: Place) -> Iterator[Any]:
    stream = io.StringIO(newline="")
    yield csv.writer(stream)
    # Names of files need not be UTF-8.
    replace_bytes(path, stream.getvalue().encode(errors="surrogateescape"))
