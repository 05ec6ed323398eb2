"""Checks of the plain values in YAML files of users: keys, texts, numbers and lists.

Each error is one line that begins with the place in the file. It knows no file's meaning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from cephray.errors import InputError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from cephray.storage import Place


def read_mapping(path: Place | Traversable, what: str) -> dict[str, Any]:
    """Read a YAML file that maps keys to values.

    Args:
        path: path of the file.
        what: what the file is, for messages.

    Returns:
        The mapping. It is empty if the file is empty.

    Raises:
        InputError: If the file cannot be read, or is no mapping. The message is one line.
    """
    try:
        tree = yaml.safe_load(path.read_bytes().decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{what} {path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise InputError(
            f"{what} {path}: not valid YAML: {' '.join(str(error).split())}"
        ) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise InputError(f"{what} {path}: must map keys to values; got {tree!r:.60}")
    return tree


def check_keys(place: str, tree: Any, needed: set[str], others: set[str]) -> Mapping[str, Any]:
    """Return a mapping that has all needed keys and none but those and the others.

    Raises:
        InputError: If it is no mapping, or a key is missing or unknown.
    """
    if not isinstance(tree, Mapping):
        raise InputError(f"{place}: must map keys to values; got {tree!r:.60}")
    missing = sorted(needed - set(tree))
    if missing:
        raise InputError(f"{place}: {missing[0]!r} is missing")
    unknown = sorted(set(map(str, tree)) - needed - others)
    if unknown:
        valid = ", ".join(sorted(needed | others))
        raise InputError(f"{place}: unknown key {unknown[0]!r}; valid keys: {valid}")
    return tree


def entries(place: str, value: Any) -> list[tuple[str, Any]]:
    """Return the entries of a list, each with its place, counted from 1.

    Raises:
        InputError: If the value is no list.
    """
    if not isinstance(value, list | tuple):
        raise InputError(f"{place}: must be a list; got {value!r:.60}")
    return [(f"{place}, entry {number}", entry) for number, entry in enumerate(value, 1)]


def text(place: str, value: Any) -> str:
    """Return a text that is not empty.

    Raises:
        InputError: If the value is none.
    """
    if not isinstance(value, str) or not value.strip():
        hint = " (YAML reads yes, no, on and off so: quote it)" if isinstance(value, bool) else ""
        raise InputError(f"{place}: must be a text; got {value!r}{hint}")
    return value


def number(place: str, value: Any) -> float:
    """Return a finite number.

    Raises:
        InputError: If the value is none.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise InputError(f"{place}: must be a number, with a decimal point; got {value!r}")
    return float(value)
