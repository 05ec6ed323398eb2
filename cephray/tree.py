"""YAML files of users: how they are found, and checks of their keys, texts, numbers and lists.

Each error is one line that begins with the place in the file. It knows no file's meaning.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cephray.errors import InputError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from cephray.storage import Place


def find_named(
    given: str, known: Mapping[str, Traversable], what: str, named: str
) -> Path | Traversable:
    """Find a file by its name among those that come with a package, or by its path.

    Names take precedence. A file `best` in the current folder is found as `./best`.

    Args:
        given: name, or path.
        known: files of the package, by name.
        what: what the file is, for messages: "config".
        named: what one of the package is, for messages: "a preset".

    Raises:
        InputError: If `given` is neither a name nor an existing path.
    """
    if given in known:
        return known[given]
    if not os.path.exists(given):
        close = difflib.get_close_matches(Path(given).stem.lower(), known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise InputError(
            f"{what} {given!r}: is neither {named} nor a file{hint}; give the name of {named} "
            f"({', '.join(known)}) or the path of a YAML file"
        )
    return Path(given)


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
