"""Cases in a folder: written whole or not at all, and never over one another.

A folder has a JSON file for each case; `films/` with the grey values of the films as PNG files;
and `thumbnails/`. It knows no network and no HTTP.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import filelock

from cephray.data import GrayImage, cv2
from cephray.drawing import encode_png
from cephray.errors import InputError, RunError
from cephray.landmarks import LandmarkSet
from cephray.serving.case import (
    FILMS,
    Found,
    automatic_of,
    changed,
    new_case,
    pair_of,
    safe_name,
)
from cephray.serving.index import CaseIndex
from cephray.storage import replace_bytes

THUMBNAILS = "thumbnails"

_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_THUMBNAIL_PX = 240  # height


class NoCaseError(InputError):
    """Raised if there is no such case."""


class ConflictError(InputError):
    """Raised if a case was changed since the revision that a change is based on.

    Args:
        revision: of the case now.
    """

    def __init__(self, revision: int) -> None:
        super().__init__(
            "the case was changed elsewhere, in another window perhaps; load it again, or save"
            " yours over it"
        )
        self.revision = revision


class SaveError(RunError):
    """Raised if a case cannot be written, for example because the disk is full."""


@dataclass(frozen=True)
class Window:
    """A window that changes cases, and the number of its change.

    Args:
        name: of the window, which no other one has.
        number: of the change. A later change of the window has a larger one.
    """

    name: str
    number: int


@dataclass(frozen=True)
class _Row:
    """The last changes of a case if one window made them all.

    Args:
        last: the window, with the number of its last change.
        since: revision of the case before them.
    """

    last: Window
    since: int


@dataclass(frozen=True)
class Pictures:
    """The files of a film: `png` in full size, `thumbnail` (JPEG), and the pixels' `digest`."""

    png: bytes
    thumbnail: bytes
    digest: str

    @classmethod
    def of(cls, image: GrayImage) -> Pictures:
        """Encode a film, uint8 [H, W]."""
        height, width = image.shape
        size = (max(1, round(width * _THUMBNAIL_PX / height)), _THUMBNAIL_PX)
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return cls(
            encode_png(image),
            cv2.imencode(".jpg", small)[1].tobytes(),
            sha256(repr(image.shape).encode() + image.tobytes()).hexdigest(),
        )


class CaseFolder:
    """A folder of cases. One process at a time uses it.

    Args:
        folder: it is created if it does not exist, for its owner alone.
        landmarks: the set of K landmarks of the cases.

    Raises:
        InputError: the folder cannot be written, or another process uses it.
    """

    def __init__(self, folder: Path, landmarks: LandmarkSet) -> None:
        self.folder = folder
        self.landmarks = landmarks
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # patients' films
            for part in (FILMS, THUMBNAILS):
                (folder / part).mkdir(exist_ok=True)
            self._process = filelock.FileLock(folder / ".lock")
            self._process.acquire(timeout=0)
        except filelock.Timeout:
            raise InputError(
                f"--cases {folder}: another `cephray serve` uses this folder; stop it, or give"
                " another folder"
            ) from None
        except OSError as error:
            raise InputError(f"--cases {folder} cannot be written ({error.strerror})") from None
        self._writing = threading.Lock()
        self._rows: dict[str, _Row] = {}  # by the name of the case
        self._index = CaseIndex(folder, _ID, self.read)
        for draft in folder.glob(".*.json.*"):  # of a process that was killed
            draft.unlink(missing_ok=True)

    def close(self) -> None:
        """Let other processes use the folder."""
        self._process.release()

    def names(self) -> list[str]:
        """Return the names of all cases, in alphabetical order."""
        return sorted(path.stem for path in self.folder.glob("*.json") if _ID.fullmatch(path.stem))

    def read(self, name: str) -> dict[str, Any]:
        """Read a case.

        Raises:
            NoCaseError: there is none of this name.
            InputError: its file is damaged.
        """
        path = self._path(name)
        try:
            tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            _ = tree["revision"], tree["landmarks"], tree["automatic"]
            landmark_set = tree["landmark_set"]
            if tree["film"] != name:  # a copy, whose changes would be written into the other
                raise ValueError
        except FileNotFoundError:
            raise NoCaseError(f"there is no case {name!r}") from None
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror})") from None
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path} is no file of a case; remove it") from None
        if landmark_set != self.landmarks.name:
            raise InputError(
                f"case {name!r} has the landmarks of {landmark_set!r}, and the network finds those"
                f" of {self.landmarks.name!r}; serve it with another --checkpoint"
            )
        return tree

    def summaries(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Return what a list of cases shows of each, and a line for each damaged file."""
        return self._index.summaries()

    def add(self, title: str, pictures: Pictures, found: Found) -> dict[str, Any]:
        """Add a case, or return the one that has the same film.

        Args:
            title: file name of the film, as the user gave it.
            pictures: of the film.
            found: what the network found on it.

        Raises:
            SaveError: it cannot be written. Nothing is left of it.
        """
        with self._writing:
            known = self._index.find(pictures.digest)
            if known is not None:
                return self.read(known)
            name = self._free_name(title)
            case = new_case(name, title, pictures.digest, found, self.landmarks)
            try:
                self._save(self.film(name), pictures.png)
                self._save(self.thumbnail(name), pictures.thumbnail)
                self._write(case)  # last: a case has its film
            except SaveError:
                self.film(name).unlink(missing_ok=True)
                self.thumbnail(name).unlink(missing_ok=True)
                raise
        return case

    def change(
        self, name: str, revision: int, changes: dict[str, Any], window: Window | None = None
    ) -> dict[str, Any]:
        """Change a case.

        A window that closes sends its last change before the answer to the one before it came, so
        that both are based on the same revision. Changes of one window are no conflict therefore,
        and one that is overtaken by a later one is left out.

        Args:
            name: of the case.
            revision: that the change is based on.
            changes: some of `points_px`, K pairs [x, y] in pixels or None where missing; `ruler`,
                None or a mapping with `points_px`, two pairs, and `length_mm`; `checked`, whether
                a person has looked at all points; `patient`, `remarks` and `norms_for`, the group
                whose norms hold for the patient, texts.
            window: that makes the change, or None if it is not known.

        Returns:
            The case with its new revision.

        Raises:
            NoCaseError: there is none of this name.
            ConflictError: the case has another revision by now, and not by this window alone.
            InputError: a change is not valid.
            SaveError: it cannot be written. The case stays as it was.
        """
        with self._writing:
            case = self.read(name)
            row = self._rows.get(name)
            if window is None or row is None or row.last.name != window.name:
                row = None
            if case["revision"] != revision and (row is None or revision < row.since):
                raise ConflictError(case["revision"])
            if row is not None and window is not None and window.number < row.last.number:
                return case
            case = changed(case, changes)
            self._write(case)
            if window is not None:
                self._rows[name] = _Row(window, revision if row is None else row.since)
        return case

    def replace_automatic(self, name: str, found: Found) -> dict[str, Any]:
        """Replace what the network found on a film. Corrected and missing points stay.

        Raises:
            NoCaseError: there is none of this name.
        """
        with self._writing:
            case = self.read(name)
            kept = [
                (number, point)
                for number, point in enumerate(case["landmarks"])
                if point["corrected"]
            ]
            case["automatic"] = automatic_of(found)
            points: list[Any] = [list(point) for point in case["automatic"]["points_px"]]
            for number, point in kept:
                points[number] = pair_of(point)
            case = changed(case, {"points_px": points})
            self._write(case)
        return case

    def remove(self, name: str) -> None:
        """Remove a case with its film.

        Raises:
            NoCaseError: there is none of this name.
        """
        with self._writing:
            self.read(name)
            self._path(name).unlink()  # first: a film without a case is not shown
            self.film(name).unlink(missing_ok=True)
            self.thumbnail(name).unlink(missing_ok=True)

    def film(self, name: str) -> Path:
        """Return the path of a case's film; see `read` for the errors."""
        return self.folder / FILMS / f"{_checked_name(name)}.png"

    def thumbnail(self, name: str) -> Path:
        """Return the path of a case's thumbnail; see `read` for the errors."""
        return self.folder / THUMBNAILS / f"{_checked_name(name)}.jpg"

    def _path(self, name: str) -> Path:
        return self.folder / f"{_checked_name(name)}.json"

    def _free_name(self, title: str) -> str:
        stem = safe_name(title)
        number, name = 2, stem
        while self._path(name).exists() or self.film(name).exists():
            number, name = number + 1, f"{stem[:70]}-{number}"
        return name

    def _write(self, case: dict[str, Any]) -> None:
        self._rows.pop(case["film"], None)
        case["revision"] += 1
        case["changed"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        text = json.dumps(case, indent=1, ensure_ascii=False)
        self._save(self._path(case["film"]), text.encode())

    def _save(self, path: Path, content: bytes) -> None:
        try:
            replace_bytes(path, content, durable=True)
        except OSError as error:
            raise SaveError(
                f"the case could not be saved ({error.strerror}); let --cases {self.folder} be"
                " written to, and have space"
            ) from None


def _checked_name(name: str) -> str:
    if not _ID.fullmatch(name):
        raise NoCaseError(f"there is no case {name[:80]!r}")
    return name
