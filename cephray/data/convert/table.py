"""CSV tables of all films, a row for each landmark, film and reader.

The columns are film, landmark, x_px, y_px and, if wanted, reader, spacing_mm, width_px, height_px
and image; others are not read. `cephray predict` writes such a table. Tables with semicolons may
have decimal commas, as spreadsheets of many countries write them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from cephray.data.convert.labels import Labels
from cephray.data.convert.marked import MarkedFilm, merge_films
from cephray.data.convert.sheet import parse_sheet
from cephray.data.convert.values import Where, size_of, spacing_of, text_of
from cephray.errors import InputError

_NEEDED = ("film", "landmark", "x_px", "y_px")
_OTHERS = ("reader", "spacing_mm", "width_px", "height_px", "image")
_NUMBERS = ("x_px", "y_px", "spacing_mm")
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")


def parse(text: str, file: str, film: str, reader: str, labels: Labels) -> list[MarkedFilm]:
    """Parse a table; see `Format.parse`. `film` is not used."""
    groups: dict[tuple[str, str], list[tuple[Where, dict[str, str]]]] = {}
    for where, row in _rows(text, file):
        name = row["film"].strip()
        if not name:
            raise InputError(f"{where}: the film is missing")
        by = row.get("reader", "").strip() or reader
        groups.setdefault((name, by), []).append((where, row))
    return merge_films(_film(name, by, rows, labels) for (name, by), rows in groups.items())


def render(films: list[MarkedFilm], labels: Labels) -> str:
    """Return a table of films; see `Format.render`."""
    stream = io.StringIO(newline="")
    table = csv.writer(stream, lineterminator="\n")
    table.writerow([*_NEEDED, *_OTHERS])
    for film in films:
        width, height = film.size_px or ("", "")
        spacing = "" if film.spacing_mm is None else text_of(film.spacing_mm)
        for reader in film.readers_px:
            others = [reader, spacing, width, height, film.image or ""]
            for point in labels.points_of(film, reader):
                x, y = (text_of(point.x), text_of(point.y)) if point.is_marked else ("", "")
                table.writerow([film.film, point.label, x, y, *others])
    return stream.getvalue()


def is_table(text: str) -> bool:
    """Return whether a text begins like such a table."""
    header = text.lstrip("\ufeff").split("\n", 1)[0]
    return set(_NEEDED) <= {name.strip().strip('"') for name in re.split("[,;\t]", header)}


def _rows(text: str, file: str) -> Iterator[tuple[Where, dict[str, str]]]:
    sheet = parse_sheet(text, f"annotation {file}", _NEEDED)
    for line, row in sheet.rows:
        where = Where(file, f"line {line}")
        yield where, _checked(row, sheet.delimiter, where)


def _checked(row: dict[Any, Any], delimiter: str, where: Where) -> dict[str, str]:
    if None in row or None in row.values():
        given = sum(value is not None for name, value in row.items() if name is not None)
        given += len(row.get(None, ()))
        hint = "; write numbers with a decimal point" if delimiter == "," else ""
        raise InputError(
            f"{where}: has {given} values for {len(row) - (None in row)} columns{hint}"
        )
    if delimiter != ",":
        for name in _NUMBERS:
            if _DECIMAL_COMMA.fullmatch(row.get(name, "")):
                row[name] = row[name].replace(",", ".")
    return row


def _film(
    name: str, reader: str, rows: list[tuple[Where, dict[str, str]]], labels: Labels
) -> MarkedFilm:
    points = [(where, row["landmark"].strip(), row["x_px"], row["y_px"]) for where, row in rows]
    marks, ruler = labels.arrange(points)
    file = rows[0][0].file
    facts = {_facts(where, row) for where, row in rows}
    if len(facts) > 1:
        raise InputError(
            f"annotation {file}: film {name!r} has several spacings, sizes or images; give each"
            " film the same ones in all of its rows"
        )
    size_px, spacing_mm, image = facts.pop()
    rulers = {} if ruler is None else {reader: ruler}
    return MarkedFilm(name, {reader: marks}, image or None, size_px, spacing_mm, rulers)


def _facts(where: Where, row: dict[str, str]) -> tuple[tuple[int, int] | None, float | None, str]:
    file = f"{where.file}, {where.place}"
    return (
        size_of(row.get("width_px"), row.get("height_px"), file),
        spacing_of(row.get("spacing_mm"), file),
        row.get("image", "").strip(),
    )
