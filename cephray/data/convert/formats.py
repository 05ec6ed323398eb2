"""The known annotation formats, listed in `FORMATS`.

A new format is a new file of this folder, and a new entry of this list.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cephray.data.convert import aariz, coco, cvat, labelme, result, table, text
from cephray.data.convert.labels import Labels
from cephray.data.convert.marked import MarkedFilm
from cephray.errors import InputError


@dataclass(frozen=True)
class Format:
    """An annotation format.

    Args:
        name: name on the command line.
        title: what it is, for messages and help.
        suffix: suffix of its files.
        is_per_film: whether there is a file for each film and reader, or one file for all.
        holds_spacing: whether its files contain the spacing.
        holds_path: whether its files contain the path of the film, not only its file name.
        parse: takes the content of a file, the file's name for messages, the name of the film
            (if the file is of one film), the reader's name (if the file does not give it), and
            the labels. Returns the films, and raises an `InputError` that names the place.
        render: takes films and the labels, and returns the content of a file. Of a format with a
            file for each film, it takes one film with the marks of one reader.
    """

    name: str
    title: str
    suffix: str
    is_per_film: bool
    holds_spacing: bool
    holds_path: bool
    parse: Callable[[str, str, str, str, Labels], list[MarkedFilm]]
    render: Callable[[list[MarkedFilm], Labels], str]


FORMATS = (
    Format(
        "cephray",
        "JSON of cephray predict",
        ".json",
        True,
        True,
        True,
        result.parse,
        result.render,
    ),
    Format("csv", "CSV table of landmarks", ".csv", False, True, True, table.parse, table.render),
    Format(
        "text", "text of ISBI 2015 and PKU", ".txt", True, False, False, text.parse, text.render
    ),
    Format("labelme", "labelme JSON", ".json", True, True, True, labelme.parse, labelme.render),
    Format("coco", "COCO keypoints", ".json", False, True, False, coco.parse, coco.render),
    Format("cvat", "CVAT for images 1.1", ".xml", False, False, False, cvat.parse, cvat.render),
    Format("aariz", "Aariz JSON", ".json", True, False, False, aariz.parse, aariz.render),
)


def format_named(name: str) -> Format:
    """Return the format with this name.

    Raises:
        InputError: If there is none.
    """
    for one in FORMATS:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in FORMATS)
    raise InputError(f"unknown annotation format {name!r}; formats: {known}")


def recognise_format(suffix: str, content: str) -> Format | None:
    """Recognise the format of a file by its suffix and its content.

    Args:
        suffix: suffix of the file's name.
        content: text of the file.

    Returns:
        The format, or None if it is none of those known.
    """
    suffix = suffix.lower()
    if suffix == ".txt":
        return format_named("text")
    if suffix == ".csv":
        return format_named("csv") if table.is_table(content) else None
    if suffix == ".xml":
        return format_named("cvat") if "<annotations" in content else None
    return _recognise_json(content) if suffix == ".json" else None


def _recognise_json(content: str) -> Format | None:
    try:
        tree = json.loads(content)
    except (json.JSONDecodeError, RecursionError):
        return None
    if not isinstance(tree, dict):
        return None
    if isinstance(tree.get("shapes"), list):
        return format_named("labelme")
    if isinstance(tree.get("images"), list) and isinstance(tree.get("annotations"), list):
        return format_named("coco")
    landmarks: Any = tree.get("landmarks")
    if not isinstance(landmarks, list) or not landmarks or not isinstance(landmarks[0], dict):
        return None
    return format_named("aariz" if "value" in landmarks[0] else "cephray")
