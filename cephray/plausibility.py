"""Plausibility: whether a predicted result can be true, and the reasons if it cannot.

The predicted shape is compared with the shapes of the training films. Of those only statistics
are kept: a mean shape and a few limits, which a checkpoint stores. It knows arrays and no network.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray import geometry
from cephray.data.contrast import has_contrast

FloatArray = NDArray[np.floating[Any]]
Complex = NDArray[np.complex128]  # points as x + iy, so that a turn is a factor

Range = tuple[float, float]

# Margins around what the training films have. They were chosen with the distances of 150 upright
# and 25 turned or mirrored training films in view, and before any other film was looked at.
_DISTANCE_MARGIN = 1.2
_TURN_MARGIN_DEG = 10.0
_SIZE_MARGIN = 1.5

LARGEST_RADIUS = 0.15
"""Median 95 % radius, as a fraction of the shape's size, above which landmarks are guesses.

Twice the largest of the training films of the checkpoint that comes with cephray."""

_LEAST_LANDMARKS = 4  # fewer have no shape to compare
_LEAST_FILMS = 3
_MEAN_STEPS = 5


@dataclass(frozen=True)
class ShapeStatistics:
    """Statistics of the training films' landmarks, which alone tell no single film.

    The size of a shape is the root mean square distance of its landmarks from their centre. The
    distance of two shapes is that of Procrustes: 0 if they differ by place, turn and size only,
    at most 1. A mirrored shape is another shape.
    """

    films: int
    mean_shape: tuple[tuple[float, float], ...]  # K points (x, y), centred, of size 1
    largest_distance: float  # of a film's shape to the mean shape of the others
    turn_deg: Range  # of a film's shape against the mean shape, clockwise
    size_of_film: Range  # size as a fraction of the height of the network's frame
    size_mm: Range

    def to_json(self) -> str:
        """Return the statistics as JSON text."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> ShapeStatistics:
        """Read what `to_json` wrote."""
        content = json.loads(text)
        content["mean_shape"] = tuple(map(tuple, content["mean_shape"]))
        for name in ("turn_deg", "size_of_film", "size_mm"):
            content[name] = tuple(content[name])
        return cls(**content)


def shape_statistics(
    landmarks_px: FloatArray, frame_height_px: NDArray[Any], spacing_mm: FloatArray
) -> ShapeStatistics | None:
    """Compute the statistics of training films.

    Args:
        landmarks_px: [N, K, 2]; NaN where missing. Films that lack a landmark are left out.
        frame_height_px: [N], height of what the network sees of each film.
        spacing_mm: [N], millimetres per pixel.

    Returns:
        The statistics, or None if fewer than three films have all landmarks.
    """
    whole = np.isfinite(landmarks_px).all(axis=(1, 2))
    if whole.sum() < _LEAST_FILMS or landmarks_px.shape[1] < _LEAST_LANDMARKS:
        return None
    points = landmarks_px[whole].astype(np.float64)
    sizes = np.array([_size(shape) for shape in points])
    if not sizes.all():
        return None
    shapes = np.array([_unit(shape) for shape in points])
    mean = _mean_shape(shapes)
    distances = [
        _compare(shape, _mean_shape(np.delete(shapes, number, axis=0)))[0]
        for number, shape in enumerate(shapes)
    ]
    turns = [_compare(shape, mean)[1] for shape in shapes]
    return ShapeStatistics(
        films=len(shapes),
        mean_shape=tuple((float(point.real), float(point.imag)) for point in mean),
        largest_distance=max(distances),
        turn_deg=(min(turns), max(turns)),
        size_of_film=_range(sizes / frame_height_px[whole]),
        size_mm=_range(sizes * spacing_mm[whole]),
    )


def doubts(
    image: NDArray[np.uint8],
    landmarks_px: FloatArray,
    size_px: tuple[int, int],
    frame_height_px: float,
    spacing_mm: float,
    radius_px: FloatArray | None,
    statistics: ShapeStatistics | None,
) -> tuple[str, ...]:
    """Return the reasons why a predicted result is doubtful; empty if there is none.

    Args:
        image: [h, w], the film as the network saw it.
        landmarks_px: [K, 2], predicted, pixels of the film.
        size_px: (width, height) of the film.
        frame_height_px: height of what the network saw of it, pixels of the film.
        spacing_mm: millimetres per pixel; NaN if unknown.
        radius_px: [K], 95 % radius of each landmark; None if the network has no confidence.
        statistics: of the training films; None leaves the checks of the shape out.
    """
    found = []
    if not has_contrast(image):
        found.append("the film has hardly any contrast")
    if not np.isfinite(landmarks_px).all():
        return (*found, "some landmarks are not numbers")
    count = int(geometry.outside(landmarks_px, size_px).sum())
    if count:
        found.append(f"{count} of {len(landmarks_px)} landmarks lie outside the film")
    size_of_shape_px = _size(landmarks_px)
    if radius_px is not None and np.median(radius_px) > LARGEST_RADIUS * size_of_shape_px:
        found.append(
            "the network is unsure of most landmarks: is this an upright lateral cephalogram that"
            " faces right?"
        )
    if statistics is not None:
        found += _shape_doubts(landmarks_px, frame_height_px, spacing_mm, statistics)
    return tuple(found)


def _shape_doubts(
    landmarks_px: FloatArray,
    frame_height_px: float,
    spacing_mm: float,
    statistics: ShapeStatistics,
) -> Sequence[str]:
    size_px = _size(landmarks_px)
    if not size_px:
        return ["all landmarks lie at one place"]
    mean = np.array([complex(x, y) for x, y in statistics.mean_shape])
    shape = _unit(landmarks_px)
    distance, turn_deg = _compare(shape, mean)
    found = []
    limit = _DISTANCE_MARGIN * statistics.largest_distance
    if distance > limit:
        mirrored = _compare(-shape.conj(), mean)[0] <= limit
        like = ": they are mirrored" if mirrored else ""
        found.append(f"the landmarks form no shape like those of the training films{like}")
    low, high = statistics.turn_deg
    if not low - _TURN_MARGIN_DEG <= turn_deg <= high + _TURN_MARGIN_DEG:
        found.append(f"the head is turned by {turn_deg:.0f} degrees: is the film upright?")
    if not _within(size_px / frame_height_px, statistics.size_of_film):
        found.append("the head is much larger or smaller on the film than on the training films")
    size_mm = size_px * spacing_mm
    if np.isfinite(size_mm) and not _within(size_mm, statistics.size_mm):
        times = size_mm / float(np.mean(statistics.size_mm))
        found.append(
            f"the head is {times:.2g} times as large in millimetres as those of the training"
            " films: is the spacing right?"
        )
    return found


def _within(value: float, limits: Range) -> bool:
    return limits[0] / _SIZE_MARGIN <= value <= limits[1] * _SIZE_MARGIN


def _range(values: FloatArray) -> Range:
    return float(values.min()), float(values.max())


def _size(points: FloatArray) -> float:
    return float(np.sqrt(np.square(points - points.mean(axis=0)).sum(axis=-1).mean()))


def _unit(points: FloatArray) -> Complex:
    """Return a shape centred and of size 1."""
    centred = (points - points.mean(axis=0)) / _size(points)
    unit: Complex = centred[:, 0] + 1j * centred[:, 1]
    return unit


def _compare(shape: Complex, mean: Complex) -> tuple[float, float]:
    """Return the Procrustes distance of two unit shapes, and the turn between them in degrees."""
    product = complex(np.vdot(mean, shape)) / len(mean)
    distance = math.sqrt(max(1 - abs(product) ** 2, 0.0))
    return distance, float(np.degrees(np.angle(product)))


def _mean_shape(shapes: Complex) -> Complex:
    """Return the Procrustes mean of unit shapes [N, K], turned as they are on average."""
    upright = shapes.mean(axis=0)
    mean = upright
    for _ in range(_MEAN_STEPS):
        products = shapes @ mean.conj()
        mean = (shapes * (products.conj() / np.abs(products))[:, None]).mean(axis=0)
    turn = np.vdot(mean, upright)
    mean = mean * turn / abs(turn)
    unit: Complex = mean / np.sqrt((mean.real**2 + mean.imag**2).mean())
    return unit
