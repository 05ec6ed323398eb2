"""Spacings of annotated films: from tables of the data set, annotations or rulers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from cephray.config import DataConfig
from cephray.data.convert import MarkedFilm
from cephray.data.convert.sheet import parse_sheet
from cephray.errors import InputError
from cephray.storage import Place, read_text

SPACING_FILE = "spacing.csv"  # beside the layout's folders

# The tables that are read, with the columns of the film's name and of its spacing. The second one
# is that of the data set Aariz.
_TABLES = (
    (SPACING_FILE, "film", "spacing_mm"),
    ("cephalogram_machine_mappings.csv", "cephalogram_id", "pixel_size"),
)


def read_spacings(folder: Place) -> dict[str, float] | None:
    """Read the spacing of each film from `spacing.csv`, with columns film and spacing_mm.

    The table of the data set Aariz, `cephalogram_machine_mappings.csv`, is read too.

    Returns:
        Millimetres per pixel by film, or None if the folder has no such file.

    Raises:
        InputError: If the file cannot be read, or a line is invalid. The message names the file,
            the line and its content.
    """
    for name, film, spacing in _TABLES:
        if (folder / name).exists():
            return _read(folder / name, film, spacing)
    return None


def film_spacing(
    film: MarkedFilm, spacings_mm: Mapping[str, float], data: DataConfig
) -> float | None:
    """Return millimetres per pixel of an annotated film, or None if unknown.

    In this order: the configuration's spacing, the data set's table, the annotation, and the mean
    length of the ruler over the readers who marked it.

    Args:
        film: the annotated film.
        spacings_mm: of the data set, by film.
        data: with the spacing of all films, or the length of the ruler.

    Raises:
        InputError: If both points of the ruler are at one place.
    """
    found = data.spacing_mm or spacings_mm.get(film.film) or film.spacing_mm
    if found is not None or data.ruler_mm is None or not film.rulers_px:
        return found
    lengths_px = [float(np.linalg.norm(b - a)) for a, b in film.rulers_px.values()]
    if min(lengths_px) == 0:
        raise InputError(f"film {film.film!r}: both points of the ruler are at one place")
    return data.ruler_mm / float(np.mean(lengths_px))


def _read(path: Place, film_column: str, spacing_column: str) -> dict[str, float]:
    columns = (film_column, spacing_column)
    delimiter, rows = parse_sheet(read_text(path, "table"), str(path), columns)
    spacings_mm: dict[str, float] = {}
    for line, row in rows:
        given = row[spacing_column] or ""
        try:
            value = float(given if delimiter == "," else given.replace(",", "."))
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf or None in row:
            hint = ", with a decimal point" if None in row or "," in given else ""
            raise InputError(
                f"{path}, line {line}: {spacing_column} must be a positive number of millimetres"
                f" per pixel{hint}; got {given!r}"
            )
        spacings_mm[(row[film_column] or "").strip()] = value
    return spacings_mm
