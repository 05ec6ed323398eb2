"""JSON files of the data set Aariz, one for each film and reader.

Source: https://github.com/manwaarkhd/aariz-cephalometric-dataset. A file has `landmarks`, a list
of objects with `title`, `symbol` and `value`, which holds `x` and `y`. A landmark without `value`
is missing. The spacing is in a table beside the films.
"""

from __future__ import annotations

import json
from typing import Any

from cephray.data.convert.labels import RULER, Labels
from cephray.data.convert.marked import MarkedFilm
from cephray.data.convert.values import entries, is_marked, parse_object, plain
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
    (marks,) = film.readers_px.values()
    names = [(one.name, one.abbreviation) for one in labels.landmarks.landmarks]
    points = list(zip(names, marks, strict=True))
    for ruler in film.rulers_px.values():
        points += zip(((name, name) for name in RULER), ruler, strict=True)
    marked = is_marked([point for _, point in points])
    landmarks: list[dict[str, Any]] = [
        {
            "landmark_id": str(number),
            "title": title,
            "symbol": symbol,
            "value": {"x": plain(x), "y": plain(y)} if is_there else None,
        }
        for number, (((title, symbol), (x, y)), is_there) in enumerate(
            zip(points, marked, strict=True), 1
        )
    ]
    return json.dumps({"ceph_id": film.film, "landmarks": landmarks}, indent=1) + "\n"
