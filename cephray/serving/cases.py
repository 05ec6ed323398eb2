"""Cases in a folder: a film, the landmarks on it, and what a person corrected.

A folder has a JSON file for each case, which is the format of `cephray predict` with some more
entries; `films/` with the grey values of the films as PNG files; and `thumbnails/`. It knows no
network and no HTTP.
"""

from __future__ import annotations

import json
import math
import re
import threading
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from numpy.typing import NDArray

from cephray.data import GrayImage, cv2
from cephray.errors import InputError
from cephray.landmarks import LandmarkSet
from cephray.plausibility import spacing_fault
from cephray.storage import replace_bytes, replace_text

FILMS, THUMBNAILS = "films", "thumbnails"

_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_LONGEST_NAME = 120
_LONGEST_TEXT = 2000
_THUMBNAIL_PX = 240  # height
_PNG = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP, cv2.IMWRITE_PNG_COMPRESSION, 1)

_RULER = "ruler"  # source of a spacing that two points of a ruler give


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


@dataclass(frozen=True)
class Found:
    """What a network found on a film, for a new case.

    Args:
        facts: as `FilmResult.to_dict` returns them.
        checkpoint: name of the network's checkpoint.
    """

    facts: dict[str, Any]
    checkpoint: str


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
            cv2.imencode(".png", image, _PNG)[1].tobytes(),
            cv2.imencode(".jpg", small)[1].tobytes(),
            sha256(repr(image.shape).encode() + image.tobytes()).hexdigest(),
        )


class CaseFolder:
    """A folder of cases. One process at a time uses it.

    Args:
        folder: it is created if it does not exist.
        landmarks: the set of K landmarks of the cases.

    Raises:
        InputError: the folder cannot be written, or another process uses it.
    """

    def __init__(self, folder: Path, landmarks: LandmarkSet) -> None:
        self.folder = folder
        self.landmarks = landmarks
        try:
            for part in (folder, folder / FILMS, folder / THUMBNAILS):
                part.mkdir(parents=True, exist_ok=True)
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
        except FileNotFoundError:
            raise NoCaseError(f"there is no case {name!r}") from None
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
        shown, damaged = [], []
        for name in self.names():
            try:
                case = self.read(name)
            except InputError as error:
                damaged.append(str(error))
                continue
            keys = ("film", "title", "patient", "checked", "changed", "revision", "doubtful")
            shown.append(
                {key: case.get(key) for key in keys}
                | {
                    "corrected": sum(one["corrected"] for one in case["landmarks"]),
                }
            )
        return shown, damaged

    def find(self, digest: str) -> dict[str, Any] | None:
        """Return the case of a film whose pixels have this digest, or None."""
        for name in self.names():
            try:
                case = self.read(name)
            except InputError:
                continue
            if case.get("digest") == digest:
                return case
        return None

    def add(self, title: str, pictures: Pictures, found: Found) -> dict[str, Any]:
        """Add a case, or return the one that has the same film.

        Args:
            title: file name of the film, as the user gave it.
            pictures: of the film.
            found: what the network found on it.
        """
        with self._writing:
            known = self.find(pictures.digest)
            if known is not None:
                return known
            name = self._free_name(title)
            case = _new_case(name, title, pictures.digest, found, self.landmarks)
            replace_bytes(self.film(name), pictures.png)
            replace_bytes(self.thumbnail(name), pictures.thumbnail)
            self._write(case)  # last: a case has its film
        return case

    def change(self, name: str, revision: int, changes: dict[str, Any]) -> dict[str, Any]:
        """Change a case.

        Args:
            name: of the case.
            revision: that the change is based on.
            changes: some of `points_px`, K pairs [x, y] in pixels or None where missing; `ruler`,
                None or a mapping with `points_px`, two pairs, and `length_mm`; `checked`, whether
                a person has looked at all points; `patient` and `remarks`, texts.

        Returns:
            The case with its new revision.

        Raises:
            NoCaseError: there is none of this name.
            ConflictError: the case has another revision by now.
            InputError: a change is not valid.
        """
        with self._writing:
            case = self.read(name)
            if case["revision"] != revision:
                raise ConflictError(case["revision"])
            case = _changed(case, changes)
            self._write(case)
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
            case["automatic"] = _automatic(found)
            points: list[Any] = [list(point) for point in case["automatic"]["points_px"]]
            for number, point in kept:
                points[number] = _pair(point)
            case = _changed(case, {"points_px": points})
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
        case["revision"] += 1
        case["changed"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        replace_text(self._path(case["film"]), json.dumps(case, indent=1, ensure_ascii=False))


def safe_name(title: str) -> str:
    """Return a name for files and addresses, of ASCII letters, digits, `-` and `_`.

    Example:
        >>> safe_name("../Müller, A.dcm")
        'Muller-A'
    """
    stem = shown_name(title).rsplit(".", 1)[0]
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_]+", "-", plain).strip("-")[:70] or "film"


def shown_name(title: str) -> str:
    """Return the last part of a file's name, without characters that cannot be shown."""
    last = re.split(r"[/\\]", title)[-1]
    kept = "".join(c for c in last if unicodedata.category(c)[0] != "C").strip()
    return kept[:_LONGEST_NAME] or "film"


def points_of(case: dict[str, Any]) -> NDArray[np.float64]:
    """Return the landmarks of a case: [K, 2], pixels; NaN where missing."""
    return np.array([_pair(p) or (math.nan, math.nan) for p in case["landmarks"]], np.float64)


def radii_of(case: dict[str, Any]) -> NDArray[np.float64]:
    """Return the radii [K] of 95 % of the errors, pixels; NaN where unknown or corrected."""
    given = [point.get("radius_95_px") for point in case["landmarks"]]
    return np.array([math.nan if radius is None else radius for radius in given], np.float64)


def _checked_name(name: str) -> str:
    if not _ID.fullmatch(name):
        raise NoCaseError(f"there is no case {name[:80]!r}")
    return name


def _automatic(found: Found) -> dict[str, Any]:
    landmarks = found.facts["landmarks"]
    return {
        "checkpoint": found.checkpoint,
        "points_px": [_pair(point) for point in landmarks],
        "radius_95_px": [point.get("radius_95_px") for point in landmarks],
        "confidence": [point.get("confidence") for point in landmarks],
        "doubtful": found.facts["doubtful"],
        "spacing_mm": found.facts["spacing_mm"],
        "spacing_source": found.facts["spacing_source"],
    }


def _new_case(
    name: str, title: str, digest: str, found: Found, landmarks: LandmarkSet
) -> dict[str, Any]:
    case = {
        "film": name,
        "title": shown_name(title),
        "image": f"{FILMS}/{name}.png",
        "reader": "page",
        "revision": 0,
        "landmark_set": landmarks.name,
        "size_px": found.facts["size_px"],
        "orientation": found.facts["orientation"],
        "notes": found.facts["notes"],
        "digest": digest,
        "patient": "",
        "remarks": "",
        "checked": False,
        "ruler": None,
        "automatic": _automatic(found),
        "landmarks": [{"name": one, "x_px": None, "y_px": None} for one in landmarks.names],
    }
    return _changed(case, {"points_px": case["automatic"]["points_px"]})


def _changed(case: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a case with changes, which are checked; the revision stays."""
    case, automatic = dict(case), case["automatic"]
    unknown = changes.keys() - {"points_px", "ruler", "checked", "patient", "remarks"}
    if unknown:
        raise InputError(f"a case has no {min(unknown)!r} to change")
    points = changes.get("points_px", [_pair(point) for point in case["landmarks"]])
    case["landmarks"] = _landmarks(case, points)
    for key in ("patient", "remarks"):
        text = changes.get(key, case[key])
        if not isinstance(text, str) or len(text) > _LONGEST_TEXT:
            raise InputError(f"{key} must be a text of at most {_LONGEST_TEXT} characters")
        case[key] = text
    checked = changes.get("checked", case["checked"])
    if not isinstance(checked, bool):
        raise InputError("checked must be true or false")
    case["checked"] = checked
    # Whoever has looked at all points has decided that they are right.
    case["doubtful"] = [] if checked else automatic["doubtful"]
    case["ruler"] = ruler = _ruler(changes.get("ruler", case["ruler"]), case["size_px"][1])
    case["spacing_mm"], case["spacing_source"] = (
        (ruler["length_mm"] / math.dist(*ruler["points_px"]), _RULER)
        if ruler is not None
        else (automatic["spacing_mm"], automatic["spacing_source"])
    )
    return case


def _landmarks(case: dict[str, Any], points: Any) -> list[dict[str, Any]]:
    names = [point["name"] for point in case["landmarks"]]
    automatic = case["automatic"]
    if not isinstance(points, list) or len(points) != len(names):
        raise InputError(f"points_px must be a list of {len(names)} points or nulls")
    landmarks = []
    for number, (name, point) in enumerate(zip(names, points, strict=True)):
        pair = None if point is None else _checked_pair(f"point {name}", point)
        one: dict[str, Any] = {"name": name}
        one["x_px"], one["y_px"] = pair if pair is not None else (None, None)
        one["corrected"] = pair != automatic["points_px"][number]
        for key in ("confidence", "radius_95_px"):
            value = automatic[key][number]
            if value is not None and not one["corrected"]:  # they are the network's
                one[key] = value
        landmarks.append(one)
    return landmarks


def _ruler(given: Any, height_px: int) -> dict[str, Any] | None:
    if given is None:
        return None
    if not isinstance(given, dict) or given.keys() != {"points_px", "length_mm"}:
        raise InputError("ruler must be null, or have points_px and length_mm")
    points, length = given["points_px"], given["length_mm"]
    if not isinstance(points, list) or len(points) != 2:
        raise InputError("points_px of the ruler must be two points")
    pairs = [_checked_pair("a point of the ruler", point) for point in points]
    if isinstance(length, bool) or not isinstance(length, int | float) or not 0 < length < 1000:
        raise InputError("length_mm of the ruler must be millimetres, above 0 and below 1000")
    distance_px = math.dist(*pairs)
    if distance_px < 2:
        raise InputError("the points of the ruler lie on one another; put them further apart")
    fault = spacing_fault(length / distance_px, height_px)
    if fault is not None:
        raise InputError(f"the ruler cannot be right: {fault}")
    return {"points_px": pairs, "length_mm": float(length)}


def _checked_pair(what: str, given: Any) -> list[float]:
    if (
        not isinstance(given, list | tuple)
        or len(given) != 2
        or any(isinstance(one, bool) or not isinstance(one, int | float) for one in given)
        or not all(math.isfinite(one) and abs(one) < 1e6 for one in given)
    ):
        raise InputError(f"{what} must be two numbers of pixels, x and y")
    return [round(float(one), 2) for one in given]


def _pair(point: dict[str, Any]) -> list[float] | None:
    if point["x_px"] is None:
        return None
    return [point["x_px"], point["y_px"]]
