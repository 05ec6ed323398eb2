"""The landmark sets that come with cephray, and sets in files of users."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from cephray.errors import InputError
from cephray.landmarks.sets import LandmarkSet
from cephray.tree import read_mapping

SUFFIXES = (".yaml", ".yml")


def landmark_set_names() -> list[str]:
    """Return the names of the sets that come with cephray, in alphabetical order.

    Example:
        >>> landmark_set_names()
        ['aariz', 'isbi2015']
    """
    found = [file.name for file in files(__package__).iterdir() if file.name.endswith(".yaml")]
    return sorted(name.removesuffix(".yaml") for name in found)


def landmark_set(given: str | Mapping[str, Any]) -> LandmarkSet:
    """Return a landmark set.

    Example:
        >>> len(landmark_set("aariz"))
        29

    Args:
        given: name of a set that comes with cephray; path of a YAML file; or the values of such a
            file (see `LandmarkSet.from_tree`).

    Raises:
        InputError: If there is no such set or file, or the file is not valid. The message is one
            line.
    """
    if isinstance(given, Mapping):
        return LandmarkSet.from_tree(given)
    if given in landmark_set_names():
        return _included(given)
    if not is_file_name(given):
        raise InputError(
            f"unknown landmark set {given!r}; give {', '.join(landmark_set_names())}, or the path "
            "of a YAML file"
        )
    return _read(Path(given))


def is_file_name(given: str) -> bool:
    """Return whether a text means a file and not the name of a set."""
    return given.lower().endswith(SUFFIXES)


@cache
def _included(name: str) -> LandmarkSet:
    text = (files(__package__) / f"{name}.yaml").read_text(encoding="utf-8")
    return LandmarkSet.from_tree(yaml.safe_load(text))


def _read(path: Path) -> LandmarkSet:
    tree = read_mapping(path, "landmark set")
    try:
        return LandmarkSet.from_tree(tree)
    except InputError as error:
        raise InputError(f"landmark set {path}: {error}") from None


ISBI2015 = _included("isbi2015")
