"""Cache of copies that were found, so that a search compares its films only once.

It knows the paths, sizes and modification times of files, but does not read them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cephray.storage import READS_AT_ONCE, Place, RemotePath, replace_text

Pairs = list[tuple[int, int]]


class KnownCopies:
    """Cache of the results of `find_copies`, by set of films.

    If a file was changed, added or removed, the set is a different one and is compared again.
    """

    def __init__(self) -> None:
        self._pairs: dict[str, Pairs] = {}

    def find(self, paths: Sequence[Place], look: Callable[[], Pairs]) -> Pairs:
        """Return the pairs of copies among films.

        Args:
            paths: paths of the films.
            look: finds the pairs. It is called if they are not in the cache.
        """
        key = _key(paths)
        if key not in self._pairs:
            self._pairs[key] = look()
        return self._pairs[key]

    def save(self, path: Path) -> None:
        """Write the cache to a JSON file.

        Raises:
            OSError: If the file cannot be written.
        """
        replace_text(path, json.dumps(self._pairs))

    @classmethod
    def load(cls, path: Path) -> KnownCopies:
        """Read a file written by `save`. If it is missing or damaged, the cache is empty."""
        known = cls()
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            known._pairs = {key: [(i, j) for i, j in pairs] for key, pairs in saved.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            pass
        return known


def _key(paths: Sequence[Place]) -> str:
    """Return a digest of the paths, sizes and modification times of the films, in order."""
    digest = hashlib.sha256()
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        for path, state in zip(paths, pool.map(_state, paths), strict=True):
            digest.update(f"{path.absolute()}\n{state}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _state(path: Place) -> str:
    """Return the size and modification time of a file."""
    if isinstance(path, RemotePath):
        return path.state
    try:
        status = path.stat()
    except OSError:
        return "unreadable"
    return f"{status.st_size} {status.st_mtime_ns}"
