"""Values in annotation files: numbers, JSON objects, and places for messages."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from cephray.data.convert.marked import Points
from cephray.errors import InputError


class Where(NamedTuple):
    """A place in an annotation file, such as "line 3"."""

    file: str
    place: str

    def __str__(self) -> str:
        """Return the file and the place."""
        return f"annotation {self.file}, {self.place}"


def number_of(value: Any) -> float | None:
    """Return a number as float, NaN for a value that is absent, or None for anything else.

    Args:
        value: a number, its text, or None or an empty text if it is absent.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return None if math.isinf(number) else number


def text_of(number: float) -> str:
    """Return the shortest text that means exactly this number, without `.0`."""
    text = repr(float(number))
    return text.removesuffix(".0")


def plain(number: float) -> float | int | None:
    """Return a number for JSON: None for NaN, and an integer for a whole number."""
    number = float(number)
    if math.isnan(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def parse_object(text: str, file: str) -> dict[str, Any]:
    """Parse a JSON file that contains an object.

    Args:
        text: content of the file.
        file: name of the file for messages.

    Raises:
        InputError: If the text is no JSON object. The message names the line.
    """
    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"annotation {file}, line {error.lineno}: not valid JSON ({error.msg}); save the file"
            " again with the program that wrote it"
        ) from None
    except RecursionError:
        raise InputError(f"annotation {file}: not a file of landmarks (nested too deep)") from None
    if not isinstance(tree, dict):
        raise InputError(
            f"annotation {file}: must contain a JSON object; got {text.strip()!r:.60}"
        )
    return tree


def entries(tree: dict[str, Any], key: str, file: str) -> list[tuple[Where, dict[str, Any]]]:
    """Return the objects in a list of a JSON object, each with its place, counted from 1.

    Raises:
        InputError: If there is no such list, or something in it is no object.
    """
    found = tree.get(key)
    if not isinstance(found, list):
        raise InputError(f"annotation {file}: {key!r} must be a list; got {found!r:.60}")
    placed = [(Where(file, f"{key} {number}"), entry) for number, entry in enumerate(found, 1)]
    for where, entry in placed:
        if not isinstance(entry, dict):
            raise InputError(f"{where}: must be an object; got {entry!r:.60}")
    return placed


def size_of(width: Any, height: Any, file: str) -> tuple[int, int] | None:
    """Return (width, height) in pixels, or None if both are absent.

    Raises:
        InputError: If one of them is not a positive whole number.
    """
    values = [number_of(value) for value in (width, height)]
    if all(value is not None and math.isnan(value) for value in values):
        return None
    for name, value, given in zip(("width", "height"), values, (width, height), strict=True):
        if value is None or not value.is_integer() or value <= 0:
            raise InputError(
                f"annotation {file}: {name} of the film must be a whole number of pixels; got"
                f" {given!r}"
            )
    return int(values[0]), int(values[1])  # type: ignore[arg-type]


def spacing_of(value: Any, file: str) -> float | None:
    """Return millimetres per pixel, or None if it is absent.

    Raises:
        InputError: If it is not a positive number.
    """
    number = number_of(value)
    if number is not None and math.isnan(number):
        return None
    if number is None or number <= 0:
        raise InputError(
            f"annotation {file}: spacing_mm must be a positive number of millimetres per pixel,"
            f" with a decimal point; got {value!r}"
        )
    return number


def class_labels_of(value: Any, file: str) -> tuple[int, ...] | None:
    """Return class labels, or None if they are absent.

    Raises:
        InputError: If they are not a list of whole numbers.
    """
    if value is None:
        return None
    if not isinstance(value, list) or any(type(one) is not int for one in value):
        raise InputError(
            f"annotation {file}: class_labels must be a list of whole numbers; got {value!r:.60}"
        )
    return tuple(value) or None


def is_marked(points: Iterable[Points]) -> list[bool]:
    """Return which points (x, y) are not missing."""
    return [not bool(np.isnan(point).any()) for point in points]
