"""Marks that cannot be right, or are unlike all others, named by film, reader and landmark.

Each reader's marks are looked at on their own, so that a slip is found in a data set of one reader
too. Places are checked here, shapes in `unlike.py`. It reads no file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray import geometry
from cephray.data.check.unlike import Unlike, find_unlike
from cephray.data.dataset import Record
from cephray.plausibility import FEWEST_POINTS

Marks = NDArray[np.floating[Any]]  # [K, 2], pixels; NaN where missing

_FARTHEST = 10.0  # film heights; marks beyond say nothing of a shape
_AGREES = 1 / 3  # of a mark's distance from its usual place: another reader's mark is this near

_WHOLE = {
    "mirrored": "the marks are mirrored, left to right; does the face on this film look right?",
    "upside down": "the marks stand on their head; is the film upside down?",
    "x and y swapped": "x and y of the marks are swapped; each line must be x,y",
    "moved up": "each mark stands one line too early: is the first line missing?",
    "moved down": "each mark stands one line too late: is there a line too many at the start?",
    "unlike": "{amount:.0f} of the {present} marks lie far from their usual places; are they in"
    " the right order, and of this film?",
    "size": "the marks are {amount:.2g} times as large, in mm, as on other films; were they made"
    " on a film of another resolution, or is the spacing wrong?",
    "turned": "the marks are turned by {amount:.0f} degrees; is the film turned?",
    "right": "the marks lie unusually far {side}, by {percent:.0f} % of the film's width; are they"
    " of this film?",
    "down": "the marks lie unusually far {side}, by {percent:.0f} % of the film's height; are they"
    " of this film?",
}
_SIDES = {"right": ("to the left", "to the right"), "down": ("up", "down")}


@dataclass(frozen=True)
class Doubt:
    """One finding on one reader's marks of one film."""

    film: str
    reader: str
    landmarks: tuple[str, ...]  # that it is about; all K if the whole set of marks is
    message: str

    def __str__(self) -> str:
        """Return the finding in one line."""
        return f"{self.film}, {self.reader} reader: {self.message}"


@dataclass(frozen=True, eq=False)
class _Set:
    """One reader's marks of one film."""

    record: Record
    number: int  # of the film
    size_px: tuple[int, int]
    reader: str
    marks_px: Marks


def find_doubtful(
    records: Sequence[Record],
    sizes_px: Sequence[tuple[int, int]],
    names: Sequence[str],
    same_film: Collection[frozenset[str]] = (),
) -> tuple[Doubt, ...]:
    """Find marks that cannot be right, or are unlike those of all other films.

    Args:
        records: N films with their readers' marks.
        sizes_px: (width, height) of each film.
        names: of the K landmarks.
        same_film: pairs of names of pictures that show one film: their marks may be the same.

    Returns:
        Findings in the order of the films and of their readers.
    """
    sets = [
        _Set(record, number, size_px, reader, marks_px)
        for number, (record, size_px) in enumerate(zip(records, sizes_px, strict=True))
        for reader, marks_px in record.readers_px.items()
    ]
    if not sets:
        return ()
    unlike = defaultdict(list)
    for finding in find_unlike(
        np.stack([_near_the_film(each) * each.record.spacing_mm for each in sets]),
        [each.number for each in sets],
        np.array([np.array(each.size_px) * each.record.spacing_mm for each in sets]),
    ):
        unlike[finding.index].append(finding)
    twins = _same_marks(sets, same_film)
    found: list[Doubt] = []
    for index, each in enumerate(sets):
        # Of several marks at one place, the shape tells which one is wrong.
        gone = geometry.outside(each.marks_px, each.size_px) | (each.marks_px == 0).all(axis=-1)
        named = {names[k] for k in np.flatnonzero(gone).tolist()}
        found += _misplaced(each, names)
        if index in twins:
            message = f"has the same marks as {twins[index]}; one of them is of another film"
            found.append(_doubt(each, names, range(len(names)), message))
        found += _of_shape(each, unlike[index], names, named)
    return tuple(found)


def _near_the_film(each: _Set) -> Marks:
    """Leave out marks that lie many films away: their squares could be too large for a number."""
    away = np.abs(each.marks_px) > _FARTHEST * max(each.size_px)
    return np.where(away.any(axis=-1, keepdims=True), np.nan, each.marks_px)


def _misplaced(each: _Set, names: Sequence[str]) -> Iterator[Doubt]:
    """Find marks outside the film, at (0, 0), and several at one place."""
    width, height = each.size_px
    beyond = np.flatnonzero(geometry.outside(each.marks_px, each.size_px)).tolist()
    if beyond:
        text = _join([names[k] for k in beyond])
        text += f" at {_at(each.marks_px[beyond[0]])} lies" if len(beyond) == 1 else " lie"
        yield _doubt(each, names, beyond, f"{text} outside the film of {width} × {height} px")
    places: dict[tuple[float, float], list[int]] = defaultdict(list)
    for k, (x, y) in enumerate(each.marks_px.tolist()):
        if not np.isnan([x, y]).any():
            places[x + 0.0, y + 0.0].append(k)  # -0 becomes 0
    for place, there in places.items():
        text = _join([names[k] for k in there])
        if place == (0.0, 0.0):
            verb = "lies" if len(there) == 1 else "lie"
            message = (
                f"{text} {verb} at (0, 0), the corner of the film; write nan,nan for what is"
                " not marked"
            )
            yield _doubt(each, names, there, message)
        elif len(there) > 1:
            text = "all marks" if len(there) == len(names) else text
            yield _doubt(each, names, there, f"{text} lie at one place, {_at(place)}")


def _same_marks(sets: Sequence[_Set], same_film: Collection[frozenset[str]]) -> dict[int, str]:
    """Find sets of marks that are equal to one of another film: index and what it equals."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, each in enumerate(sets):
        present = each.marks_px[~np.isnan(each.marks_px).any(axis=-1)]
        if len(np.unique(present, axis=0)) >= FEWEST_POINTS:
            groups[np.round(each.marks_px + 0.0, 2).tobytes()].append(index)
    twins = {}
    for group in groups.values():
        for index in group:
            film = sets[index].record.film
            for other in group:
                name = sets[other].record.film
                if name != film and frozenset((name, film)) not in same_film:
                    twins[index] = f"film {name}, {sets[other].reader} reader"
                    break
    return twins


def _of_shape(
    each: _Set, findings: Sequence[Unlike], names: Sequence[str], named: Collection[str]
) -> Iterator[Doubt]:
    far = []
    for finding in findings:
        if finding.kind == "far":
            if names[finding.landmarks[0]] not in named:
                far.append(finding)
        elif finding.kind == "swapped":
            text = _join([names[k] for k in finding.landmarks])
            message = f"{text} lie at each other's usual place; are they swapped?"
            yield _doubt(each, names, finding.landmarks, message)
        else:
            present = int((~np.isnan(each.marks_px).any(axis=-1)).sum())
            message = _WHOLE[finding.kind].format(
                amount=finding.amount,
                present=present,
                percent=abs(100 * finding.amount),
                side=_SIDES.get(finding.kind, ("", ""))[finding.amount > 0],
            )
            yield _doubt(each, names, range(len(names)), message)
    if far:
        yield _far(each, far, names)


def _far(each: _Set, far: Sequence[Unlike], names: Sequence[str]) -> Doubt:
    """Join the marks of one set that lie far from their usual places."""
    landmarks = [finding.landmarks[0] for finding in far]
    low, high = (round(edge(f.amount for f in far)) for edge in (min, max))
    span = f"{low}" if low == high else f"{low} to {high}"
    verb, place = ("lies", "its usual place") if len(far) == 1 else ("lie", "their usual places")
    message = f"{_join([names[k] for k in landmarks])} {verb} {span} mm from {place}"
    agreeing = [
        reader
        for reader, marks_px in each.record.readers_px.items()
        if reader != each.reader
        and all(0 < _apart_mm(each, marks_px, f.landmarks[0]) <= _AGREES * f.amount for f in far)
    ]
    if agreeing:
        message += f"; the {agreeing[0]} reader agrees: perhaps an unusual face"
    return _doubt(each, names, landmarks, message)


def _apart_mm(each: _Set, marks_px: Marks, landmark: int) -> float:
    apart = np.linalg.norm(each.marks_px[landmark] - marks_px[landmark])
    return float(apart * each.record.spacing_mm)


def _doubt(each: _Set, names: Sequence[str], landmarks: Any, message: str) -> Doubt:
    return Doubt(each.record.film, each.reader, tuple(names[k] for k in landmarks), message)


def _join(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _at(point: Any) -> str:
    return f"({point[0]:g}, {point[1]:g})"
