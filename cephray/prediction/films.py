"""Prediction: films without truth; landmarks and measurements as JSON and CSV, a picture of each.

What is done with one film, and what is written of all; `predict_here` does it in this process,
`on_cluster.py` on many machines, with the same functions, so that results are the same.
A film that cannot be read is passed over and named at the end; the others keep their results.
"""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import Any, cast

import numpy as np

from cephray.clinical import MEASUREMENTS, UNKNOWN, classify, measurable, measure
from cephray.data import (
    LANDMARK_TABLE,
    MEASUREMENT_TABLE,
    RESULT_SUFFIXES,
    Film,
    FilmFile,
    Original,
    View,
    cv2,
    read_original,
    work_ahead,
)
from cephray.drawing import draw_overlay
from cephray.errors import InputError, RunError, Stopped
from cephray.landmarks import LandmarkSet
from cephray.plausibility import spacing_fault
from cephray.prediction.detector import Detection, Detector
from cephray.storage import replace_text

_MOST_NAMED = 5  # films in a summary
GIVEN = "--spacing"  # source of a spacing that is the user's
_GIVEN_LEFT_OUT = f"{GIVEN} left out"  # how the note begins if it is impossible for a film

# Two thirds of the bytes of OpenCV's own choice for a film, in the same time.
_PNG = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP, cv2.IMWRITE_PNG_COMPRESSION, 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReadFilm(Film):
    """A film for the network, with what its file holds: read once, and drawn on at the end."""

    number: int  # place among the films
    original: Original
    spacing_source: str | None
    notes: tuple[str, ...] = ()  # what the file or the user says and was left out, and why


@dataclass(frozen=True, eq=False)
class Result:
    """What is written of one film."""

    facts: dict[str, Any]  # of the JSON file
    picture: bytes  # PNG


# A film's number, and its result or why there is none.
Outcome = tuple[int, Result | InputError]


@dataclass
class Summary:
    """What became of the films."""

    written: int = 0
    unread: list[str] = field(default_factory=list)  # a line each, in the films' order
    spacing_sources: Counter[str | None] = field(default_factory=Counter)
    doubtful: dict[str, list[str]] = field(default_factory=dict)  # film: reasons
    notes: dict[str, list[str]] = field(default_factory=dict)  # film: what was left out

    def __str__(self) -> str:
        """Say where the films' spacings are from."""
        notes = (note for noted in self.notes.values() for note in noted)
        left_out = any(note.startswith(_GIVEN_LEFT_OUT) for note in notes)
        cure = f"{GIVEN} is impossible for them" if left_out else f"{GIVEN} MM gives it"
        told = {None: f"unknown ({cure})", GIVEN: f"by {GIVEN}"}
        counts = self.spacing_sources.most_common()
        return "spacing of films: " + ", ".join(
            f"{count} {told.get(source, f'by their {source}')}" for source, count in counts
        )

    def lines(self) -> list[str]:
        """Return the lines about doubtful films and about notes; empty if there are none."""
        lines = []
        if self.doubtful:
            lines.append(f"doubtful films: {len(self.doubtful)} of {self.written}")
            lines += _named(self.doubtful)
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


def read(
    number: int, file: FilmFile, view: View, count: int, spacing_mm: float | None
) -> ReadFilm | InputError:
    """Read one film for the network; what is wrong with it is returned, not raised.

    Args:
        number: place among the films.
        file: of the film.
        view: how it becomes an image of the network's size.
        count: K landmarks.
        spacing_mm: millimetres per pixel of films that do not know their own.
    """
    try:
        original = read_original(file.path)
        height, width = original.image.shape
        known, source = original.spacing_mm, original.spacing_source
        notes = original.notes
        if known is None and spacing_mm is not None:
            fault = spacing_fault(spacing_mm, height)
            if fault is None:
                known, source = spacing_mm, GIVEN
            else:
                notes += (f"{_GIVEN_LEFT_OUT}: {fault}",)
        return ReadFilm(
            film=file.name,
            image=view.show(original.image),
            landmarks_norm=np.full((count, 2), np.nan, np.float32),
            size_px=(width, height),
            frame=view.frame((width, height)),
            pixels=original.image,
            spacing_mm=known if known is not None else float("nan"),
            number=number,
            original=original,
            spacing_source=source,
            notes=notes,
        )
    except InputError as error:
        return error
    except Exception as error:  # one odd film of thousands must not end the others
        said = " ".join(str(error).split())[:200]
        return InputError(f"film {file.path} cannot be read ({type(error).__name__}: {said})")


def result_of(detection: Detection, landmarks: LandmarkSet) -> Outcome:
    """Make what is written of a film that `read` gave to the network."""
    film = cast(ReadFilm, detection.film)
    try:
        picture = draw_overlay(
            film.original.image,
            detection.refined_px,
            landmarks.abbreviations,
            lines=landmarks.lines,
            warnings=[f"DOUBTFUL: {reason}" for reason in detection.doubts],
        )
        content = cv2.imencode(".png", picture, _PNG)[1].tobytes()
    except cv2.error:
        width, height = film.size_px
        return film.number, InputError(
            f"film {film.film} of {width} × {height} pixels cannot be drawn; is it a whole film?"
        )
    return film.number, Result(_to_json(detection, landmarks), content)


def predict_here(
    detector: Detector,
    files: Sequence[FilmFile],
    landmarks: LandmarkSet,
    spacing_mm: float | None = None,
) -> Iterator[Outcome]:
    """Predict films in this process, read and drawn on threads beside the network's.

    Args:
        detector: the network.
        files: the films.
        landmarks: names of the landmarks.
        spacing_mm: millimetres per pixel of films that do not know their own.
    """
    threads = os.cpu_count() or 1
    unread: list[Outcome] = []

    def readable() -> Iterator[ReadFilm]:
        tasks = (
            partial(read, number, file, detector.view, len(landmarks), spacing_mm)
            for number, file in enumerate(files)
        )
        for number, film in enumerate(work_ahead(tasks, threads)):
            if isinstance(film, ReadFilm):
                yield film
            else:
                unread.append((number, film))

    drawing = (partial(result_of, found, landmarks) for found in detector.detect(readable()))
    yield from work_ahead(drawing, threads)
    yield from unread


def write_results(
    outcomes: Iterable[Outcome],
    files: Sequence[FilmFile],
    output: Path,
    progress: Callable[[int], None] = lambda films: None,
) -> Summary:
    """Write `NAME.json` and `NAME.png` of each film as it comes, and the tables at the end.

    The tables are written even where something ends the prediction early: of the films so far.

    Args:
        outcomes: of the films, in any order.
        files: the films.
        output: folder of the results; made once there is one.
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
            if isinstance(outcome, Result):
                _write(outcome, output / files[number].name)
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
    return summary


def require_own_output(output: Path, files: Sequence[FilmFile]) -> None:
    """Refuse an output folder that cannot be one, or whose results would overwrite a film.

    Raises:
        InputError: names the folder, and the film.
    """
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
            raise InputError(
                f"output {output}: the results would overwrite film {path}; give another folder"
            )
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


def _to_json(detection: Detection, landmarks: LandmarkSet) -> dict[str, Any]:
    film = cast(ReadFilm, detection.film)
    points = []
    for k, (name, (x, y)) in enumerate(zip(landmarks.names, detection.refined_px, strict=True)):
        points.append({"name": name, "x_px": round(float(x), 2), "y_px": round(float(y), 2)})
        if detection.confidence is not None:
            points[k]["confidence"] = _plain(detection.confidence[k], 3)
        if detection.radius_px is not None:
            points[k]["radius_95_px"] = _plain(detection.radius_px[k], 2)
    return {
        "film": film.film,
        "size_px": list(film.size_px),
        "spacing_mm": film.spacing_mm if np.isfinite(film.spacing_mm) else None,
        "spacing_source": film.spacing_source,
        "resampled_from_px": film.original.resampled_from_px,
        "notes": list(film.notes),
        "doubtful": list(detection.doubts),
        "landmarks": points,
        "measurements": _measurements(detection, landmarks) if measurable(landmarks) else [],
    }


def _measurements(detection: Detection, landmarks: LandmarkSet) -> list[dict[str, Any]]:
    points_px, spacing_mm = detection.refined_px.astype(np.float64), detection.film.spacing_mm
    values = measure(points_px, spacing_mm, landmarks)
    classes = classify(points_px, spacing_mm, landmarks)
    if detection.doubts:  # values can be judged beside the picture, classes would be believed
        classes = np.full_like(classes, UNKNOWN)
    return [
        {
            "name": measurement.name,
            "value": _plain(value, 3),
            "unit": measurement.unit,
            "class": int(number),
            "meaning": measurement.meaning(int(number)),
        }
        for measurement, value, number in zip(MEASUREMENTS, values, classes, strict=True)
    ]


def _plain(value: Any, digits: int) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None


def _write(result: Result, stem: Path) -> None:
    """Write the picture, then the JSON file: where this is, both are whole."""
    picture, facts = (stem.with_name(f"{stem.name}{suffix}") for suffix in (".png", ".json"))
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        try:
            picture.write_bytes(result.picture)
        except OSError:
            picture.unlink(missing_ok=True)
            raise
        replace_text(facts, json.dumps(result.facts, indent=1))
    except OSError as error:
        raise RunError(f"results {stem}.* could not be written: {error}; make room") from None


def _write_tables(output: Path, results: Sequence[dict[str, Any]]) -> None:
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
            (f"{name}_{unit}", f"{name}_class", f"{name}_meaning")
            for name, unit in ((found["name"], found["unit"]) for found in measurements)
        ]
        table.writerow(["film", *(title for three in titles for title in three)])
        for result in results:
            cells = [(m["value"], m["class"], m["meaning"]) for m in result["measurements"]]
            table.writerow([result["film"], *(cell for three in cells for cell in three)])


@contextmanager
def _table(path: Path) -> Iterator[Any]:
    # Names of files need not be UTF-8.
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        yield csv.writer(stream)
