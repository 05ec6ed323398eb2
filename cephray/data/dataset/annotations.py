"""Text files of a data set: annotations, with one reader's marks of one film, and spacings.

It knows no folder layouts and no films.
"""

from __future__ import annotations

import csv
import math

import numpy as np
from numpy.typing import NDArray

from cephray.errors import InputError
from cephray.storage import Place

SPACING_FILE = "spacing.csv"  # beside the layout's folders


def read_annotation(path: Place, count: int) -> tuple[NDArray[np.float64], tuple[int, ...] | None]:
    """Read one reader's marks of one film.

    The file has K lines `x,y` in pixels, or `nan,nan` for missing landmarks. They may be followed
    by class labels, one integer per line.

    Args:
        path: path of the annotation file.
        count: K, the number of landmarks.

    Returns:
        The marks [K, 2] in pixels, NaN where missing, and the class labels, or None if there are
        none.

    Raises:
        InputError: If the file cannot be read, or a line is invalid. The message names the file,
            the line and its content.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"annotation {path} cannot be read as text ({error})") from None
    if len(lines) < count:
        raise InputError(f"annotation {path} has {len(lines)} lines; {count} lines x,y are needed")
    marks = [_parse_mark(path, number, line) for number, line in enumerate(lines[:count], 1)]
    labels = [
        _parse_label(path, number, line, count)
        for number, line in enumerate(lines[count:], count + 1)
    ]
    return np.array(marks, np.float64), tuple(labels) or None


def _parse_mark(path: Place, number: int, line: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in line.split(","))
    except ValueError:
        x = y = math.inf
    if math.isinf(x) or math.isinf(y) or math.isnan(x) != math.isnan(y):
        raise InputError(
            f"annotation {path}, line {number}: must be x,y in pixels, or nan,nan if the"
            f" landmark is missing; got {line!r}"
        )
    return x, y


def _parse_label(path: Place, number: int, line: str, count: int) -> int:
    try:
        return int(line)
    except ValueError:
        raise InputError(
            f"annotation {path}, line {number}: the lines after the {count} landmarks must be"
            f" class labels, one integer per line; got {line!r}"
        ) from None


def read_spacings(folder: Place) -> dict[str, float] | None:
    """Read the spacing of each film from `spacing.csv`, with columns film and spacing_mm.

    Returns:
        Millimetres per pixel by film, or None if the folder has no such file.

    Raises:
        InputError: If the file cannot be read, or a line is invalid. The message names the file,
            the line and its content.
    """
    path = folder / SPACING_FILE
    if not path.exists():
        return None
    try:
        table = csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(keepends=True))
        columns = table.fieldnames or []
        rows = [(table.line_num, row) for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a CSV table ({error})") from None
    if not {"film", "spacing_mm"} <= set(columns):
        raise InputError(f"{path} must have the columns film,spacing_mm; got {','.join(columns)}")
    spacings_mm: dict[str, float] = {}
    for line, row in rows:
        try:
            value = float(row["spacing_mm"])
        except (TypeError, ValueError):
            value = math.nan
        if not 0 < value < math.inf:
            raise InputError(
                f"{path}, line {line}: spacing_mm must be a positive number of millimetres per"
                f" pixel; got {row['spacing_mm']!r}"
            )
        spacings_mm[row["film"]] = value
    return spacings_mm
