"""The drivers of a search: processes, on one machine or on several, that work on one study.

Each has a file in the folder of the search for as long as it lives. The system unlocks the file
when the process ends, however it ends, and other drivers of the same machine see that. Drivers of
other machines see that the file is not touched any more, since locks do not hold on every shared
file system.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock

from cephray.errors import InputError

FOLDER = ".drivers"
SILENT_S = 90.0
"""A driver of another machine is dead if its file was not touched for so long."""

_TOUCH_S = 10.0
_WAIT_S = 60.0  # for a lock that other drivers hold for a moment
_ENTRANCE, _DRAWING = "entrance.lock", "drawing.lock"
_SUFFIX = ".driver"


@dataclass(frozen=True)
class Driver:
    """A process that works on a search.

    Args:
        output: folder of the search, which all drivers share.
        name: of the driver, which no other one has or had.
    """

    output: Path
    name: str

    def lives(self, name: str | None) -> bool:
        """Return whether another driver works; None is one that did not say its name."""
        return name is not None and (name == self.name or _lives(self.output / FOLDER, name))

    def is_alone(self) -> bool:
        """Return whether no other driver works on the search."""
        return not [name for name in _living(self.output / FOLDER) if name != self.name]

    def drawing(self) -> filelock.FileLock:
        """Return the lock to hold while a trial is drawn, so that no two drivers draw the same."""
        return filelock.FileLock(self.output / FOLDER / _DRAWING, timeout=_WAIT_S)


@contextmanager
def driving(output: Path, join: bool) -> Iterator[Driver]:
    """Be a driver of a search for a while.

    Args:
        output: folder of the search; it exists.
        join: whether other drivers may work on it too.

    Raises:
        InputError: another driver works on it, and `join` is false.
    """
    folder = output / FOLDER
    folder.mkdir(exist_ok=True)
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    path = folder / f"{name}{_SUFFIX}"
    own = filelock.FileLock(path)
    with filelock.FileLock(folder / _ENTRANCE, timeout=_WAIT_S):
        others = _living(folder)
        if others and not join:
            raise InputError(
                f"output {output}: a search is running there ({others[0]}); with --join, this"
                " process works on it too. If the machine of that process was lost, try again in"
                f" {SILENT_S:.0f} s"
            )
        own.acquire(timeout=0)
    ended = threading.Event()
    touching = threading.Thread(
        target=_touch, args=(path, ended), name="cephray-driver", daemon=True
    )
    touching.start()
    try:
        yield Driver(output, name)
    finally:
        ended.set()
        touching.join()
        path.unlink(missing_ok=True)
        own.release()


def _touch(path: Path, ended: threading.Event) -> None:
    while not ended.wait(_TOUCH_S):
        try:
            os.utime(path)
        except OSError:
            continue  # a shared folder that does not answer for a while


def _living(folder: Path) -> list[str]:
    names = sorted(path.name.removesuffix(_SUFFIX) for path in folder.glob(f"*{_SUFFIX}"))
    return [name for name in names if _lives(folder, name)]


def _lives(folder: Path, name: str) -> bool:
    path = folder / f"{name}{_SUFFIX}"
    if name.rsplit("-", 2)[0] != socket.gethostname():
        try:
            return _now(folder) - path.stat().st_mtime < SILENT_S
        except FileNotFoundError:
            return False
    if not path.exists():
        return False
    try:
        with filelock.FileLock(path, timeout=0):
            path.unlink(missing_ok=True)
    except filelock.Timeout:
        return True
    return False


def _now(folder: Path) -> float:
    """Return the time by the clock that the files' times are of, that of the file system."""
    probe = folder / f"{socket.gethostname()}-{os.getpid()}.now"
    probe.touch()
    now = probe.stat().st_mtime
    probe.unlink(missing_ok=True)
    return now
