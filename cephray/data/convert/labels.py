"""Labels of points in annotation files, and the landmarks that they mean.

A label is the name or the abbreviation of a landmark. Upper and lower case, spaces, hyphens and
kinds of apostrophes make no difference, unless two landmarks differ in nothing else.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from cephray.data.convert.marked import MarkedFilm, Points
from cephray.data.convert.values import Where, number_of
from cephray.errors import InputError
from cephray.landmarks import LandmarkSet

RULER = ("ruler1", "ruler2")
"""Labels of two points at a known distance, from which the spacing can be computed."""

Unknown = Literal["refuse", "ignore"]


class Found(NamedTuple):
    """Points of one reader on one film: marks [K, 2], and those of a ruler [2, 2] or None."""

    marks: Points
    ruler: Points | None


class Labelled(NamedTuple):
    """A point of a film as files have it: its label, x and y in pixels, NaN if it is missing."""

    label: str
    x: float
    y: float

    @property
    def is_marked(self) -> bool:
        """Whether the point is not missing."""
        return not (np.isnan(self.x) or np.isnan(self.y))


class Labels:
    """The labels of a landmark set.

    Args:
        landmarks: the landmark set.
        unknown: what to do with points that have another label.
    """

    def __init__(self, landmarks: LandmarkSet, unknown: Unknown = "refuse") -> None:
        self.landmarks = landmarks
        self._unknown = unknown
        self._numbers: dict[str, int] = {}
        alike: dict[str, set[int]] = {}
        for number, landmark in enumerate(landmarks.landmarks):
            for label in (landmark.abbreviation, landmark.name, *landmark.aliases):
                self._numbers.setdefault(label, number)
                alike.setdefault(_plain(label), set()).add(number)
        for number, label in enumerate(RULER, len(landmarks)):
            for spelling in (label, f"{label[:-1]} {label[-1]}"):
                alike.setdefault(spelling, set()).add(number)
        self._alike = {label: min(found) for label, found in alike.items() if len(found) == 1}

    def __contains__(self, label: Any) -> bool:
        """Return whether a label means a landmark or a point of a ruler."""
        return isinstance(label, str) and self._number(label) is not None

    def points_of(self, film: MarkedFilm, reader: str) -> list[Labelled]:
        """Return the landmarks by a reader with their abbreviations, and then the ruler if any."""
        names = list(self.landmarks.abbreviations)
        points = list(film.readers_px[reader])
        if reader in film.rulers_px:
            names += RULER
            points += list(film.rulers_px[reader])
        return [
            Labelled(name, float(x), float(y)) for name, (x, y) in zip(names, points, strict=True)
        ]

    def arrange(self, points: Sequence[tuple[Where, Any, Any, Any]]) -> Found:
        """Put points into the order of the landmark set.

        Args:
            points: the place in the file, the label, x and y of each point. x and y are numbers,
                or both None or NaN where the landmark is missing.

        Raises:
            InputError: If a label is unknown or occurs twice, or x or y is no number.
        """
        count = len(self.landmarks)
        found = np.full((count + len(RULER), 2), np.nan)
        seen: dict[int, Where] = {}
        for where, label, x, y in points:
            number = self._number(label) if isinstance(label, str) else None
            if number is None:
                if self._unknown == "ignore":
                    continue
                raise self._unknown_label(where, label)
            if number in seen:
                raise self._twice(where, seen[number], label, points)
            seen[number] = where
            found[number] = _point(where, label, x, y)
        ruler = found[count:]
        if np.isnan(ruler).any() and not np.isnan(ruler).all():
            missing = RULER[int(np.isnan(ruler[1]).any())]
            raise InputError(
                f"{points[0][0].file}: only one point of the ruler is marked; add {missing!r}, or"
                " remove the other one"
            )
        return Found(found[:count], None if np.isnan(ruler).any() else ruler)

    def _number(self, label: str) -> int | None:
        if label in self._numbers:
            return self._numbers[label]
        return self._alike.get(_plain(label))

    def _unknown_label(self, where: Where, label: Any) -> InputError:
        known = self.landmarks.abbreviations
        similar = difflib.get_close_matches(str(label), [*known, *self.landmarks.names], 1)
        hint = f" (perhaps {similar[0]!r})" if similar else ""
        return InputError(
            f"{where}: landmark set {self.landmarks.name!r} has no {label!r}{hint}; labels:"
            f" {', '.join(known)}, or the full names; correct the label, choose another landmark"
            " set (data.landmarks), or leave out such points (data.unknown_labels=ignore)"
        )

    def _twice(
        self,
        where: Where,
        before: Where,
        label: str,
        points: Sequence[tuple[Where, Any, Any, Any]],
    ) -> InputError:
        marked = {self._number(other) for _, other, _, _ in points if isinstance(other, str)}
        absent = [
            landmark.abbreviation
            for number, landmark in enumerate(self.landmarks.landmarks)
            if number not in marked
        ]
        missing = f", and {', '.join(absent)} not at all" if absent else ""
        return InputError(
            f"{where}: {label!r} is marked twice (first at {before.place}){missing}; correct one"
            " of the labels, or remove one of the points"
        )


def _plain(label: str) -> str:
    """Return a label in lower case, with one space between words and one kind of apostrophe."""
    straight = re.sub("[`´\u2018\u2019\u2032]", "'", label.casefold())
    return " ".join(re.split(r"[\s_-]+", straight.strip()))


def _point(where: Where, label: str, x: Any, y: Any) -> tuple[float, float]:
    values = [number_of(value) for value in (x, y)]
    if any(value is None for value in values) or np.isnan(values).sum() == 1:  # type: ignore[arg-type]
        hint = ""
        if any(isinstance(value, str) and "," in value for value in (x, y)):
            hint = " with a decimal point, not a comma"
        raise InputError(
            f"{where}: x and y of {label!r} must be numbers of pixels{hint}, or both absent if the"
            f" landmark is missing; got {x!r} and {y!r}"
        )
    return values[0], values[1]  # type: ignore[return-value]
