"""The user's cache folder on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of the cache: `$XDG_CACHE_HOME/cephray`, by default `~/.cache/cephray`."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "cephray"
