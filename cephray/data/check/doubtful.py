"""Search for doubtful marks: those that cannot be right, or differ from those of all other films.

Each reader's marks are checked independently, so that errors are also found in a data set of one
reader. Positions are checked here, and shapes in `unlike.py`. It reads no files.
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

_FARTHEST = 10.0  # larger sides of the film; marks beyond are not used for the shape
# Maximum distance of two readers' marks that agree, as a fraction of the mark's distance from its
# usual place.
_AGREES = 1 / 3

# Messages about a reader's marks as a whole, by the kind of the finding.
_WHOLE = {
    "mirrored": "the marks are mirrored, left to right; does the face on this film look right?",
    "upside down": "the marks are upside down; is the film upside down?",
    "x and y swapped": "x and y of the marks are swapped; each line must be x,y",
    "moved up": "each mark is one line too early: is the first line missing?",
    "moved down": "each mark is one line too late: is there an extra line at the start?",
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
    """A finding about one reader's marks of one film.

    Args:
        film: name of the film.
        reader: name of the reader.
        landmarks: landmarks that the finding is about, or all K if it is about the whole set.
        message: description of the finding.
    """

    film: str
    reader: str
    landmarks: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        """Return the finding as one line of text."""
        return f"{self.film}, {self.reader} reader: {self.message}"


@dataclass(frozen=True, eq=False)
class _Set:
    """One reader's marks of one film."""

    record: Record
    number: int  # index of the film
    size_px: tuple[int, int]
    reader: str
    marks_px: Marks


def find_doubtful(
    records: Sequence[Record],
    sizes_px: Sequence[tuple[int, int]],
    names: Sequence[str],
    same_film: Collection[frozenset[str]] = (),
) -> tuple[Doubt, ...]:
    """Find marks that cannot be right, or that differ from those of all other films.

    Args:
        records: N films with their readers' marks.
        sizes_px: (width, height) of each film, pixels.
        names: names of the K landmarks.
        same_film: pairs of names of films that are copies. Their marks may be equal.

    Returns:
        The findings, in the order of the films and of their readers.
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
    equal = _same_marks(sets, same_film)
    found: list[Doubt] = []
    for index, each in enumerate(sets):
        # Marks at the same place stay in the check of the shape, which shows the wrong one.
        misplaced = geometry.outside(each.marks_px, each.size_px)
        misplaced |= (each.marks_px == 0).all(axis=-1)
        named = {names[k] for k in np.flatnonzero(misplaced).tolist()}
        found += _misplaced(each, names)
        if index in equal:
            message = f"has the same marks as {equal[index]}; one of them is of another film"
            found.append(_doubt(each, names, range(len(names)), message))
        found += _of_shape(each, unlike[index], names, named)
    return tuple(found)


def _near_the_film(each: _Set) -> Marks:
    """Replace marks that lie far outside the film by NaN, since their squares could overflow."""
    far = np.abs(each.marks_px) > _FARTHEST * max(each.size_px)
    return np.where(far.any(axis=-1, keepdims=True), np.nan, each.marks_px)


def _misplaced(each: _Set, names: Sequence[str]) -> Iterator[Doubt]:
    """Yield findings for marks outside the film, at (0, 0), and at the same place."""
    width, height = each.size_px
    beyond = np.flatnonzero(geometry.outside(each.marks_px, each.size_px)).tolist()
    if beyond:
        text = _join([names[k] for k in beyond])
        text += f" at {_at(each.marks_px[beyond[0]])} lies" if len(beyond) == 1 else " lie"
        yield _doubt(each, names, beyond, f"{text} outside the film of {width} × {height} px")
    places: dict[tuple[float, float], list[int]] = defaultdict(list)
    for k, (x, y) in enumerate(each.marks_px.tolist()):
        if not np.isnan([x, y]).any():
            places[x + 0.0, y + 0.0].append(k)  # the sum turns -0 into 0
    for place, marks in places.items():
        text = _join([names[k] for k in marks])
        if place == (0.0, 0.0):
            verb = "lies" if len(marks) == 1 else "lie"
            message = (
                f"{text} {verb} at (0, 0), the corner of the film; write nan,nan for landmarks"
                " that are not marked"
            )
            yield _doubt(each, names, marks, message)
        elif len(marks) > 1:
            text = "all marks" if len(marks) == len(names) else text
            yield _doubt(each, names, marks, f"{text} lie at one place, {_at(place)}")


def _same_marks(sets: Sequence[_Set], same_film: Collection[frozenset[str]]) -> dict[int, str]:
    """Find sets of marks that are equal to a set of another film.

    Returns:
        For the index of each such set, a description of the other set.
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, each in enumerate(sets):
        present = each.marks_px[~np.isnan(each.marks_px).any(axis=-1)]
        if len(np.unique(present, axis=0)) >= FEWEST_POINTS:
            groups[np.round(each.marks_px + 0.0, 2).tobytes()].append(index)
    equal = {}
    for group in groups.values():
        for index in group:
            film = sets[index].record.film
            for other in group:
                name = sets[other].record.film
                if name != film and frozenset((name, film)) not in same_film:
                    equal[index] = f"film {name}, {sets[other].reader} reader"
                    break
    return equal


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
    """Return one finding for all marks of a set that lie far from their usual places."""
    landmarks = [finding.landmarks[0] for finding in far]
    low, high = (round(edge(f.amount for f in far)) for edge in (min, max))
    span = f"{low}" if low == high else f"{low} to {high}"
    verb, place = ("lies", "its usual place") if len(far) == 1 else ("lie", "their usual places")
    message = f"{_join([names[k] for k in landmarks])} {verb} {span} mm from {place}"
    agreeing = [
        reader
        for reader, marks_px in each.record.readers_px.items()
        if reader != each.reader
        and all(
            0 < _distance_mm(each, marks_px, f.landmarks[0]) <= _AGREES * f.amount for f in far
        )
    ]
    if agreeing:
        message += f"; the {agreeing[0]} reader agrees: perhaps an unusual face"
    return _doubt(each, names, landmarks, message)


def _distance_mm(each: _Set, marks_px: Marks, landmark: int) -> float:
    distance_px = np.linalg.norm(each.marks_px[landmark] - marks_px[landmark])
    return float(distance_px * each.record.spacing_mm)


def _doubt(each: _Set, names: Sequence[str], landmarks: Any, message: str) -> Doubt:
    return Doubt(each.record.film, each.reader, tuple(names[k] for k in landmarks), message)


def _join(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _at(point: Any) -> str:
    return f"({point[0]:g}, {point[1]:g})"
