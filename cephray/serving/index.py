"""What a list of cases shows of each, kept in memory and read again where a file changed.

It knows the files of cases, and neither films nor HTTP.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cephray.errors import InputError

_SHOWN = ("film", "title", "patient", "checked", "changed", "revision", "doubtful")


class _Entry(NamedTuple):
    stamp: tuple[int, int, int]  # of the file: time of its last change, size, inode
    summary: dict[str, Any] | None  # None if the file is damaged
    digest: str | None  # of the film's pixels
    fault: str = ""


class CaseIndex:
    """The cases of a folder, in memory.

    Files may be changed by others: time, size and inode are compared before each answer.

    Args:
        folder: of the cases.
        name: pattern of the names of cases.
        read: reads the case of a name; raises InputError if its file is damaged.
    """

    def __init__(
        self, folder: Path, name: re.Pattern[str], read: Callable[[str], dict[str, Any]]
    ) -> None:
        self._folder = folder
        self._name = name
        self._read = read
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    def summaries(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Return what a list of cases shows of each, and a line for each damaged file.

        Both are in alphabetical order of the cases' names.
        """
        entries = [entry for _, entry in sorted(self._refresh().items())]
        shown = [entry.summary for entry in entries if entry.summary is not None]
        return shown, [entry.fault for entry in entries if entry.summary is None]

    def find(self, digest: str) -> str | None:
        """Return the name of the first case whose film has this digest, or None."""
        found = [name for name, entry in self._refresh().items() if entry.digest == digest]
        return min(found, default=None)

    def _refresh(self) -> dict[str, _Entry]:
        with self._lock:
            entries = {}
            for name, stamp in self._stamps().items():
                known = self._entries.get(name)
                entries[name] = (
                    known
                    if known is not None and known.stamp == stamp
                    else self._entry(name, stamp)
                )
            self._entries = entries
            return entries

    def _stamps(self) -> dict[str, tuple[int, int, int]]:
        stamps = {}
        with os.scandir(self._folder) as files:
            for file in files:
                name, suffix = os.path.splitext(file.name)
                if suffix != ".json" or not self._name.fullmatch(name):
                    continue
                try:
                    stat = file.stat()
                except OSError:  # it was removed meanwhile
                    continue
                stamps[name] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        return stamps

    def _entry(self, name: str, stamp: tuple[int, int, int]) -> _Entry:
        try:
            case = self._read(name)
            corrected = sum(bool(one["corrected"]) for one in case["landmarks"])
            summary = {key: case.get(key) for key in _SHOWN} | {"corrected": corrected}
        except InputError as error:
            return _Entry(stamp, None, None, str(error))
        except (KeyError, TypeError):
            return _Entry(stamp, None, None, f"{name}.json is no file of a case; remove it")
        return _Entry(stamp, summary, case.get("digest"))
