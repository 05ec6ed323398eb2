"""JSON files of labelme, one for each film and reader.

Landmarks are shapes of the type "point". Other shapes are not read. `spacing_mm` and
`class_labels` are entries of our own, which labelme keeps.
"""

from __future__ import annotations

import json
from typing import Any

from cephray.data.convert.labels import Labels
from cephray.data.convert.marked import MarkedFilm
from cephray.data.convert.values import (
    Where,
    class_labels_of,
    entries,
    parse_object,
    plain,
    size_of,
    spacing_of,
)
from cephray.errors import InputError

_VERSION = "5.5.0"  # of labelme, whose newer versions read it too


def parse(text: str, file: str, film: str, reader: str, labels: Labels) -> list[MarkedFilm]:
    """Parse the file of a film; see `Format.parse`."""
    tree = parse_object(text, file)
    points = []
    for where, shape in entries(tree, "shapes", file):
        point = _point(where, shape, labels)
        if point is not None:
            points.append((where, shape.get("label"), *point))
    marks, ruler = labels.arrange(points)
    image = tree.get("imagePath")
    return [
        MarkedFilm(
            film,
            {reader: marks},
            image.replace("\\", "/") if isinstance(image, str) and image else None,
            size_of(tree.get("imageWidth"), tree.get("imageHeight"), file),
            spacing_of(tree.get("spacing_mm"), file),
            {} if ruler is None else {reader: ruler},
            class_labels_of(tree.get("class_labels"), file),
        )
    ]


def render(films: list[MarkedFilm], labels: Labels) -> str:
    """Return the file of a film with one reader's marks; see `Format.render`."""
    (film,) = films
    (reader,) = film.readers_px
    width, height = film.size_px or (None, None)
    tree: dict[str, Any] = {
        "version": _VERSION,
        "flags": {},
        "shapes": [
            {
                "label": point.label,
                "points": [[plain(point.x), plain(point.y)]],
                "group_id": None,
                "description": "",
                "shape_type": "point",
                "flags": {},
                "mask": None,
            }
            for point in labels.points_of(film, reader)
            if point.is_marked
        ],
        "imagePath": film.image or "",
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    if film.spacing_mm is not None:
        tree["spacing_mm"] = film.spacing_mm
    if film.class_labels:
        tree["class_labels"] = film.class_labels
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def _point(where: Where, shape: dict[str, Any], labels: Labels) -> tuple[Any, Any] | None:
    """Return x and y of a shape, or None if it is no point and has no landmark's label."""
    kind, points = shape.get("shape_type", "point"), shape.get("points")
    if kind != "point":
        if shape.get("label") in labels:
            raise InputError(
                f"{where}: {shape['label']!r} is drawn as {kind!r}; draw landmarks as points"
            )
        return None
    if not (isinstance(points, list) and len(points) == 1 and _is_pair(points[0])):
        raise InputError(f"{where}: a point must have one pair x, y; got {points!r:.60}")
    return points[0][0], points[0][1]


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2
