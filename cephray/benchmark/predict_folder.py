"""The time that the prediction of a folder takes: the whole, and each part alone.

In the whole, reading and drawing go on beside the network, on the same processors: what the parts
take alone can add up to more than the whole, because a part alone may leave processors idle.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from cephray.benchmark.timing import OURS, Subject
from cephray.data import FilmFile, View, work_ahead
from cephray.errors import InputError
from cephray.landmarks import LandmarkSet
from cephray.prediction import (
    Detection,
    Detector,
    Outcome,
    ReadFilm,
    output_of,
    predict_here,
    read,
    write_results,
)

READING, NETWORK, DRAWING, WRITING = "reading", "network", "drawing", "writing"


def read_films(files: Sequence[FilmFile], view: View, landmarks: LandmarkSet) -> list[ReadFilm]:
    """Read films for the network, on as many threads as prediction does.

    Raises:
        InputError: a film cannot be read.
    """
    tasks = (
        partial(read, number, file, view, len(landmarks), None)
        for number, file in enumerate(files)
    )
    films = []
    for film in work_ahead(tasks, _threads()):
        if isinstance(film, InputError):
            raise film
        films.append(film)
    return films


def folder_subjects(
    detector: Detector, files: Sequence[FilmFile], landmarks: LandmarkSet, output: Path
) -> dict[str, Subject]:
    """Return the prediction of films, from files to files, and its parts; each tells s/film.

    Args:
        detector: the network.
        files: the films; all are held in memory at once, for the parts.
        landmarks: names of the landmarks.
        output: folder of the results.

    Raises:
        InputError: a film cannot be read or drawn.
    """
    films = read_films(files, detector.view, landmarks)
    detections = list(detector.detect(films))
    outcomes = list(_draw(detections, landmarks))
    for _, outcome in outcomes:
        if isinstance(outcome, InputError):
            raise outcome

    parts: dict[str, Callable[[], object]] = {
        OURS: lambda: write_results(predict_here(detector, files, landmarks), files, output),
        READING: lambda: read_films(files, detector.view, landmarks),
        NETWORK: lambda: list(detector.detect(films)),
        DRAWING: lambda: list(_draw(detections, landmarks)),
        WRITING: lambda: write_results(outcomes, files, output),
    }
    return {name: _timed(part, len(files)) for name, part in parts.items()}


def _draw(detections: Sequence[Detection], landmarks: LandmarkSet) -> Iterator[Outcome]:
    tasks = (partial(output_of, detection, landmarks) for detection in detections)
    return work_ahead(tasks, _threads())


def _threads() -> int:
    return os.cpu_count() or 1  # as `predict_here` has it


def _timed(part: Callable[[], object], films: int) -> Subject:
    def run() -> float:
        begin = time.perf_counter()
        part()
        return (time.perf_counter() - begin) / films

    return run
