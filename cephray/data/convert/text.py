"""Text files as in the ISBI 2015 and PKU data sets, one for each film and reader.

A file has K lines `x,y` in pixels, or `nan,nan` for missing landmarks. They may be followed by
class labels, one integer per line.
"""

from __future__ import annotations

import math

import numpy as np

from cephray.data.convert.labels import Labels
from cephray.data.convert.marked import MarkedFilm, Points
from cephray.data.convert.values import text_of
from cephray.errors import InputError


def parse(text: str, file: str, film: str, reader: str, labels: Labels) -> list[MarkedFilm]:
    """Parse the file of a film; see `Format.parse`."""
    marks, classes = parse_text(text, file, len(labels.landmarks))
    return [MarkedFilm(film, {reader: marks}, class_labels=classes)]


def render(films: list[MarkedFilm], labels: Labels) -> str:
    """Return the file of a film with one reader's marks; see `Format.render`."""
    (film,) = films
    (marks,) = film.readers_px.values()
    lines = [f"{text_of(x)},{text_of(y)}" for x, y in marks]
    return "".join(f"{line}\n" for line in [*lines, *map(str, film.class_labels or ())])


def parse_text(text: str, file: str, count: int) -> tuple[Points, tuple[int, ...] | None]:
    """Parse one reader's marks of one film.

    Args:
        text: content of the file.
        file: name of the file for messages.
        count: K, the number of landmarks.

    Returns:
        The marks [K, 2] in pixels, NaN where missing, and the class labels, or None if there are
        none.

    Raises:
        InputError: If a line is invalid. The message names the file, the line and its content.
    """
    lines = text.rstrip().splitlines()
    if len(lines) < count:
        raise InputError(f"annotation {file} has {len(lines)} lines; {count} lines x,y are needed")
    marks = [_parse_mark(file, number, line) for number, line in enumerate(lines[:count], 1)]
    labels = [
        _parse_label(file, number, line, count)
        for number, line in enumerate(lines[count:], count + 1)
    ]
    return np.array(marks, np.float64), tuple(labels) or None


def _parse_mark(file: str, number: int, line: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in line.split(","))
    except ValueError:
        x = y = math.inf
    if math.isinf(x) or math.isinf(y) or math.isnan(x) != math.isnan(y):
        hint = ""
        if line.count(",") == 3 or ";" in line:
            hint = ", with decimal points and one comma between x and y"
        raise InputError(
            f"annotation {file}, line {number}: must be x,y in pixels{hint}, or nan,nan if the"
            f" landmark is missing; got {line!r}"
        )
    return x, y


def _parse_label(file: str, number: int, line: str, count: int) -> int:
    try:
        return int(line)
    except ValueError:
        raise InputError(
            f"annotation {file}, line {number}: the lines after the {count} landmarks must be"
            f" class labels, one integer per line; got {line!r}"
        ) from None
