"""Geometric constructions on points of a film: angles, distances, projections.

Points are [..., 2], (x, y) in pixels, with y down, on films of faces that look to the right. All
functions return [...]: degrees, or lengths in pixels. The result is NaN if a point is NaN, or if
two coincident points leave a direction undefined.

A line is given by two points and runs from the first to the second. Signs follow from its
direction, which each measure chooses so that the sign has the usual meaning:

- a turn from one line to another is positive if it is clockwise on the screen. Of two lines that
  run forwards, as Frankfort and the mandibular plane do, the second then descends more steeply.
- a point lies on the positive side of a line if it is on the left-hand side of someone who walks
  along the line on the screen: in front of a line that runs downwards, above one that runs
  forwards.

It knows no landmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.floating[Any]]
Values = NDArray[np.floating[Any]]


def turn(a: Points, b: Points, c: Points, d: Points, turned_deg: float = 0.0) -> Values:
    """Return the turn from line ab to line cd, above −180 to 180 degrees.

    Args:
        a, b: points of the first line.
        c, d: points of the second line.
        turned_deg: angle by which the first line is turned clockwise before.
    """
    u, v = _turned(b - a, turned_deg), d - c
    cross = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    dot = (u * v).sum(axis=-1)
    degrees = np.degrees(np.arctan2(cross, dot))
    # For opposite vectors the definition gives +180; arctan2 takes the sign of the zero.
    degrees = np.where(cross == 0, np.abs(degrees), degrees)
    return np.where((cross == 0) & (dot == 0), np.nan, degrees)


def between(a: Points, b: Points, c: Points, d: Points) -> Values:
    """Return the angle between the directions of lines ab and cd, 0 to 180 degrees."""
    return np.abs(turn(a, b, c, d))


def angle(p: Points, vertex: Points, q: Points) -> Values:
    """Return the angle at a vertex between the lines to p and q, 0 to 180 degrees."""
    return between(vertex, p, vertex, q)


def length(p: Points, q: Points) -> Values:
    """Return the distance between two points."""
    vector = q - p
    return np.hypot(vector[..., 0], vector[..., 1])


def from_line(a: Points, b: Points, p: Points) -> Values:
    """Return the distance of p from line ab, positive on its left-hand side."""
    return -across(a, b, a, p)


def along(a: Points, b: Points, p: Points, q: Points, turned_deg: float = 0.0) -> Values:
    """Return the way from p to q along line ab, positive in its direction.

    Args:
        a, b: points of the line.
        p, q: points that are projected on it.
        turned_deg: angle by which the line is turned clockwise before.
    """
    way: Values = (_unit(_turned(b - a, turned_deg)) * (q - p)).sum(axis=-1)
    return way


def across(a: Points, b: Points, p: Points, q: Points, turned_deg: float = 0.0) -> Values:
    """Return the way from p to q perpendicular to line ab, positive towards its right-hand side.

    It is positive downwards if the line runs forwards. The arguments are those of `along`.
    """
    return along(a, b, p, q, turned_deg + 90.0)


def along_bisector(a: Points, b: Points, c: Points, d: Points, p: Points, q: Points) -> Values:
    """Return the way from p to q along the bisector of the directions of lines ab and cd."""
    direction = _unit(_unit(b - a) + _unit(d - c))
    way: Values = (direction * (q - p)).sum(axis=-1)
    return way


@dataclass(frozen=True)
class Construction:
    """A construction by its name in files of analyses.

    Args:
        points: what its points are, in order.
        is_angle: whether its values are degrees and not pixels.
        compute: takes the points [..., 2] and returns values [...].
        can_turn: whether `compute` takes `turned_deg` too.
    """

    points: tuple[str, ...]
    is_angle: bool
    compute: Callable[..., Values]
    can_turn: bool = False


CONSTRUCTIONS: Mapping[str, Construction] = {
    "angle": Construction(("point", "vertex", "point"), True, angle),
    "between": Construction(("line from", "to", "line from", "to"), True, between),
    "turn": Construction(("line from", "to", "line from", "to"), True, turn, can_turn=True),
    "length": Construction(("point", "point"), False, length),
    "from_line": Construction(("line from", "to", "point"), False, from_line),
    "along": Construction(("line from", "to", "from", "to"), False, along, can_turn=True),
    "across": Construction(("line from", "to", "from", "to"), False, across, can_turn=True),
    "along_bisector": Construction(
        ("line from", "to", "line from", "to", "from", "to"), False, along_bisector
    ),
}
"""The constructions that a file of an analysis may name."""


def _turned(vector: Points, degrees: float) -> Points:
    """Turn a vector clockwise on the screen."""
    if degrees == 0:
        return vector
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    x, y = vector[..., 0], vector[..., 1]
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)


def _unit(vector: Points) -> Points:
    norm = np.hypot(vector[..., 0], vector[..., 1])[..., None]
    return vector / np.where(norm > 0, norm, np.nan)
