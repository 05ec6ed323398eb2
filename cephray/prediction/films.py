"""Films from files to results, in this process.

`on_cluster.py` uses the same functions on many machines, so that results are the same. A film that
cannot be read is passed over and named at the end; the others keep their results.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from cephray.data import FilmFile, Original, View, blank_corners, cv2, read_film, work_ahead
from cephray.drawing import encode_png
from cephray.errors import InputError
from cephray.landmarks import LandmarkSet
from cephray.plausibility import spacing_fault
from cephray.prediction.detector import Detection, Detector
from cephray.prediction.result import ReadFilm, result_of

GIVEN = "--spacing"  # source of a spacing that is the user's


@dataclass(frozen=True, eq=False)
class Output:
    """The JSON content and the picture of one film.

    Args:
        facts: of the JSON file.
        picture: PNG; empty if the film's files are written already.
    """

    facts: dict[str, Any]
    picture: bytes


# A film's number, and its output or why there is none.
Outcome = tuple[int, Output | InputError]


def read(
    number: int,
    file: FilmFile,
    view: View,
    count: int,
    spacing_mm: float | None,
    blank_percent: float = 0.0,
) -> ReadFilm | InputError:
    """Read one film for the network; what is wrong with it is returned, not raised.

    Args:
        number: place among the films.
        file: of the film.
        view: how it becomes an image of the network's size.
        count: K landmarks.
        spacing_mm: millimetres per pixel of films that do not know their own.
        blank_percent: size of the corners that are blanked, as in `blank_corners`.
    """
    try:
        original = read_film(file.path)
        if blank_percent:
            original = replace(
                original,
                image=blank_corners(original.image, blank_percent),
                notes=(*original.notes, f"corners of {blank_percent:g} % blanked"),
            )
        return film_for_network(number, file.name, original, view, count, spacing_mm)
    except InputError as error:
        return error
    except Exception as error:  # one odd film of thousands must not end the others
        said = " ".join(str(error).split())[:200]
        return InputError(f"film {file.path} cannot be read ({type(error).__name__}: {said})")


def film_for_network(
    number: int,
    name: str,
    original: Original,
    view: View,
    count: int,
    spacing_mm: float | None,
) -> ReadFilm:
    """Prepare a film for the network.

    Args:
        number: place among the films.
        name: of the film.
        original: the film as it was read.
        view: how it becomes an image of the network's size.
        count: K landmarks.
        spacing_mm: millimetres per pixel if the film does not know its own; None if unknown.
    """
    height, width = original.image.shape
    known, source = original.spacing_mm, original.spacing_source
    notes = original.notes
    if known is None and spacing_mm is not None:
        fault = spacing_fault(spacing_mm, height)
        if fault is None:
            known, source = spacing_mm, GIVEN
        else:
            notes += (f"{GIVEN} left out: {fault}",)
    return ReadFilm(
        film=name,
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


def output_of(detection: Detection, landmarks: LandmarkSet) -> Outcome:
    """Return the output of a film, or the reason why it cannot be drawn."""
    result = result_of(detection, landmarks)
    number = detection.film.number  # type: ignore[attr-defined]
    try:
        picture = cv2.cvtColor(result.draw(), cv2.COLOR_RGB2BGR)
        content = encode_png(picture)
    except (cv2.error, OSError):
        width, height = result.size_px
        return number, InputError(
            f"film {result.film} of {width} × {height} pixels cannot be drawn; is it a whole film?"
        )
    return number, Output(result.to_dict(), content)


def predict_here(
    detector: Detector,
    files: Sequence[FilmFile],
    landmarks: LandmarkSet,
    spacing_mm: float | None = None,
    blank_percent: float = 0.0,
) -> Iterator[Outcome]:
    """Predict films in this process, read and drawn on threads beside the network's.

    Args:
        detector: the network.
        files: the films.
        landmarks: names of the landmarks.
        spacing_mm: millimetres per pixel of films that do not know their own.
        blank_percent: size of the corners that are blanked, as in `blank_corners`.
    """
    threads = os.cpu_count() or 1
    unread: list[Outcome] = []

    def readable() -> Iterator[ReadFilm]:
        tasks = (
            partial(read, number, file, detector.view, len(landmarks), spacing_mm, blank_percent)
            for number, file in enumerate(files)
        )
        for number, film in enumerate(work_ahead(tasks, threads)):
            if isinstance(film, ReadFilm):
                yield film
            else:
                unread.append((number, film))

    drawing = (partial(output_of, found, landmarks) for found in detector.detect(readable()))
    yield from work_ahead(drawing, threads)
    yield from unread
