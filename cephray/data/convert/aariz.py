"""JSON files of the data set Aariz, one for each film and reader.

Source: https://github.com/manwaarkhd/aariz-cephalometric-dataset. A file has `landmarks`, a list
of objects with `title`, `symbol` and `value`, which holds `x` and `y`. A landmark without `value`
is missing. The spacing is in a table beside the films.
"""

from __future__ import annotations

import json
from typing import Any

from cephray.data.convert.labels import Labels
from cephray.data.convert.marked import MarkedFilm
from cephray.data.convert.values import entries, parse_object, plain
from cephray.errors import InputError


def parse(text: str, file: str, film: str, reader: str, labels: Labels) -> list[MarkedFilm]:
    """Parse the file of a film; see `Format.parse`."""
    points = []
    for where, entry in entries(parse_object(text, file), "landmarks", file):
        value = entry.get("value") or {}
        if not isinstance(value, dict):
            raise InputError(f"{where}: value must be an object with x and y; got {value!r:.60}")
        names = [entry.get("symbol"), entry.get("title")]
        label = next((name for name in names if name in labels), names[0] or names[1])
        points.append((where, label, value.get("x"), value.get("y")))
    marks, ruler = labels.arrange(points)
    return [MarkedFilm(film, {reader: marks}, rulers_px={} if ruler is None else {reader: ruler})]


def render(films: list[MarkedFilm], labels: Labels) -> str:
    """Return the file of a film with one reader's marks; see `Format.render`."""
    (film,) = films
    (reader,) = film.readers_px
    titles = dict(zip(labels.landmarks.abbreviations, labels.landmarks.names, strict=True))
    landmarks: list[dict[str, Any]] = [
        {
            "landmark_id": str(number),
            "title": titles.get(point.label, point.label),
            "symbol": point.label,
            "value": {"x": plain(point.x), "y": plain(point.y)} if point.is_marked else None,
        }
        for number, point in enumerate(labels.points_of(film, reader), 1)
    ]
    return json.dumps({"ceph_id": film.film, "landmarks": landmarks}, indent=1) + "\n"
