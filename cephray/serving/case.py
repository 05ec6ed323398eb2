"""A case: the landmarks of a film as JSON values, and the changes that a person may make.

It has the format of `cephray predict` with some more entries. It knows no folder and no HTTP.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.errors import InputError
from cephray.landmarks import LandmarkSet
from cephray.plausibility import spacing_fault

FILMS = "films"  # folder of the films, beside the cases

_LONGEST_NAME = 120
_LONGEST_TEXT = 2000
_TEXTS = ("patient", "remarks", "norms_for")
_RULER = "ruler"  # source of a spacing that two points of a ruler give


@dataclass(frozen=True)
class Found:
    """What a network found on a film, for a new case.

    Args:
        facts: as `FilmResult.to_dict` returns them.
        checkpoint: name of the network's checkpoint.
    """

    facts: dict[str, Any]
    checkpoint: str


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
    return np.array([pair_of(p) or (math.nan, math.nan) for p in case["landmarks"]], np.float64)


def radii_of(case: dict[str, Any]) -> NDArray[np.float64]:
    """Return the radii [K] of 95 % of the errors, pixels; NaN where unknown or corrected."""
    given = [point.get("radius_95_px") for point in case["landmarks"]]
    return np.array([math.nan if radius is None else radius for radius in given], np.float64)


def automatic_of(found: Found) -> dict[str, Any]:
    """Return what a network found, as a case keeps it beside the corrected landmarks."""
    landmarks = found.facts["landmarks"]
    return {
        "checkpoint": found.checkpoint,
        "points_px": [pair_of(point) for point in landmarks],
        "radius_95_px": [point.get("radius_95_px") for point in landmarks],
        "confidence": [point.get("confidence") for point in landmarks],
        "doubtful": found.facts["doubtful"],
        "spacing_mm": found.facts["spacing_mm"],
        "spacing_source": found.facts["spacing_source"],
    }


def new_case(
    name: str, title: str, digest: str, found: Found, landmarks: LandmarkSet
) -> dict[str, Any]:
    """Return a new case of revision 0.

    Args:
        name: of the case.
        title: file name of the film, as the user gave it.
        digest: of the film's pixels.
        found: what the network found on the film.
        landmarks: the set of K landmarks.
    """
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
        "norms_for": "",
        "checked": False,
        "ruler": None,
        "automatic": automatic_of(found),
        "landmarks": [{"name": one, "x_px": None, "y_px": None} for one in landmarks.names],
    }
    return changed(case, {"points_px": case["automatic"]["points_px"]})


def changed(case: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a case with changes, which are checked; the revision stays.

    Args:
        case: the case.
        changes: as in `CaseFolder.change`.

    Raises:
        InputError: a change is not valid.
    """
    case, automatic = dict(case), case["automatic"]
    unknown = changes.keys() - {"points_px", "ruler", "checked", *_TEXTS}
    if unknown:
        raise InputError(f"a case has no {min(unknown)!r} to change")
    points = changes.get("points_px", [pair_of(point) for point in case["landmarks"]])
    case["landmarks"] = _landmarks(case, points)
    for key in _TEXTS:
        text = changes.get(key, case.get(key, ""))
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


def pair_of(point: dict[str, Any]) -> list[float] | None:
    """Return [x, y] of a landmark of a case, pixels, or None if it is missing."""
    if point["x_px"] is None:
        return None
    return [point["x_px"], point["y_px"]]
