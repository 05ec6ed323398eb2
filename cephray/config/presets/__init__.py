"""Presets: configurations that come with cephray and are found by their name.

They are the YAML files in this folder, which are installed with the package.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from cephray.tree import find_named

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path

SUFFIX = ".yaml"


def preset_files() -> dict[str, Traversable]:
    """Return the preset files by name, in alphabetical order.

    Example:
        >>> list(preset_files())
        ['best', 'paper', 'small']
    """
    found = [file for file in files(__name__).iterdir() if file.name.endswith(SUFFIX)]
    return {file.name.removesuffix(SUFFIX): file for file in sorted(found, key=lambda f: f.name)}


def find_config(given: str) -> Path | Traversable:
    """Find a configuration file by the name of a preset, or by its path.

    Presets take precedence. A file `best` in the current folder is found as `./best`.

    Args:
        given: name of a preset, or path of a YAML file.

    Returns:
        The file, which is not read yet.

    Raises:
        InputError: If `given` is neither a preset nor an existing path.
    """
    return find_named(given, preset_files(), "config", "a preset")
