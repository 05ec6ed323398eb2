"""JSON files of `cephray predict`, one for each film and reader.

A file has `landmarks`, a list of objects with `name`, `x_px`, `y_px` (null where missing) and, if
known, `radius_95_px`. If known, it also has `film`, `image`, `reader`, `size_px`, `spacing_mm`,
`ruler_px`, `class_labels` and `doubtful`. What else `predict` writes is not read.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from cephray.data.convert.labels import RULER, Labels
from cephray.data.convert.marked import MarkedFilm, Points
from cephray.data.convert.values import (
    Where,
    class_labels_of,
    entries,
    number_of,
    parse_object,
    plain,
    size_of,
    spacing_of,
)
from cephray.errors import InputError


def parse(text: str, file: str, film: str, reader: str, labels: Labels) -> list[MarkedFilm]:
    """Parse the file of a film; see `Format.parse`."""
    tree = parse_object(text, file)
    points = [
        (where, entry.get("name"), entry.get("x_px"), entry.get("y_px"))
        for where, entry in entries(tree, "landmarks", file)
    ]
    points += [
        (Where(file, "ruler_px"), name, *point)
        for name, point in zip(RULER, _ruler(tree.get("ruler_px"), file), strict=False)
    ]
    marks, ruler = labels.arrange(points)
    radii_px = _radii(entries(tree, "landmarks", file), labels)
    size = tree.get("size_px") or (None, None)
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise InputError(f"annotation {file}: size_px must be [width, height]; got {size!r:.60}")
    doubtful = _doubtful(tree.get("doubtful"), file)
    image = tree.get("image")
    return [
        MarkedFilm(
            film,
            {reader: marks},
            image if isinstance(image, str) else None,
            size_of(size[0], size[1], file),
            spacing_of(tree.get("spacing_mm"), file),
            {} if ruler is None else {reader: ruler},
            class_labels_of(tree.get("class_labels"), file),
            {} if np.isnan(radii_px).all() else {reader: radii_px},
            {reader: doubtful} if doubtful else {},
        )
    ]


def render(films: list[MarkedFilm], labels: Labels) -> str:
    """Return the file of a film with one reader's marks; see `Format.render`."""
    (film,) = films
    ((reader, marks),) = film.readers_px.items()
    tree: dict[str, Any] = {
        "film": film.film,
        "image": film.image,
        "reader": reader,
        "size_px": film.size_px,
        "spacing_mm": film.spacing_mm,
        "landmarks": [
            {"name": name, "x_px": plain(x), "y_px": plain(y)}
            for name, (x, y) in zip(labels.landmarks.names, marks, strict=True)
        ],
    }
    for radii_px in film.radii_95_px.values():
        for point, radius in zip(tree["landmarks"], radii_px, strict=True):
            if not np.isnan(radius):
                point["radius_95_px"] = plain(radius)
    for doubtful in film.doubtful.values():
        tree["doubtful"] = doubtful
    for ruler in film.rulers_px.values():
        tree["ruler_px"] = [[plain(value) for value in point] for point in ruler]
    if film.class_labels:
        tree["class_labels"] = film.class_labels
    return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"


def _radii(landmarks: list[tuple[Where, dict[str, Any]]], labels: Labels) -> Points:
    """Return the radii [K] of 95 % of the errors, NaN where they are not given."""
    given = []
    for where, entry in landmarks:
        radius = number_of(entry.get("radius_95_px"))
        if radius is None or radius < 0:
            raise InputError(
                f"{where}: radius_95_px must be a number of pixels that is not negative; got"
                f" {entry['radius_95_px']!r}"
            )
        given.append((where, entry.get("name"), radius, radius))
    return labels.arrange(given).marks[:, 0]


def _doubtful(given: Any, file: str) -> tuple[str, ...]:
    """Return the reasons why a prediction is doubtful."""
    reasons = [] if given is None else given
    if not isinstance(reasons, list) or not all(isinstance(one, str) for one in reasons):
        raise InputError(
            f"annotation {file}: doubtful must be a list of texts, empty if the landmarks are"
            f" right; got {given!r:.60}"
        )
    return tuple(reasons)


def _ruler(given: Any, file: str) -> list[list[Any]]:
    if given is None:
        return []
    if not (
        isinstance(given, list)
        and len(given) == len(RULER)
        and all(isinstance(point, list) and len(point) == 2 for point in given)
    ):
        raise InputError(
            f"annotation {file}: ruler_px must be two points [x, y]; got {given!r:.60}"
        )
    return given
