"""Copies of films that were found before, so that a search compares its films only once.

It knows files by path, size and time of change, and looks into none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from cephray.storage import replace_text

Pairs = list[tuple[int, int]]


class KnownCopies:
    """The copies that `find_copies` found, by the films that were compared.

    A file that was changed, added or removed since makes another set of films, which is looked at
    anew.
    """

    def __init__(self) -> None:
        self._pairs: dict[str, Pairs] = {}

    def find(self, paths: Sequence[Path], look: Callable[[], Pairs]) -> Pairs:
        """Return the pairs of these films; call `look` for them if they are not known."""
        key = _key(paths)
        if key not in self._pairs:
            self._pairs[key] = look()
        return self._pairs[key]

    def save(self, path: Path) -> None:
        """Write what is known to a JSON file.

        Raises:
            OSError: it could not be written.
        """
        replace_text(path, json.dumps(self._pairs))

    @classmethod
    def load(cls, path: Path) -> KnownCopies:
        """Read what `save` wrote. If the file is missing or damaged, no copies are known."""
        known = cls()
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            known._pairs = {key: [(i, j) for i, j in pairs] for key, pairs in saved.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            pass
        return known


def _key(paths: Sequence[Path]) -> str:
    """Return a digest of the films' paths, sizes and times of change, in their order."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = path.stat()
            state = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:
            state = "unreadable"
        digest.update(f"{path.absolute()}\n{state}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
