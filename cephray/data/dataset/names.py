"""Names of films in natural order, and lists of a few names for messages."""

from __future__ import annotations

import re
from collections.abc import Iterable


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """Return a sort key that puts "film9" before "film10"."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]


def first_few(names: Iterable[str], limit: int = 5) -> str:
    """Return the first few names in natural order, and the number of the others, as text."""
    ordered = sorted(names, key=natural_key)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + more
