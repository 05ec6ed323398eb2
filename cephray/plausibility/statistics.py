"""Statistics of the shapes that the landmarks of the training films form.

They consist of a mean shape and a few ranges, and are stored in the checkpoint. All films have the
same weight, since the training landmarks are assumed to be correct. The fits in `alignment.py` do
not need this assumption.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.plausibility.alignment import ComplexArray, to_complex

FloatArray = NDArray[np.floating[Any]]

Range = tuple[float, float]

_MIN_LANDMARKS = 4  # fewer landmarks do not form a shape that can be compared
_MIN_FILMS = 3
_MEAN_STEPS = 5


@dataclass(frozen=True)
class ShapeStatistics:
    """Statistics of the training films' landmarks, from which no single film can be recovered.

    The size of a shape is the root mean square distance of its landmarks from their centre. The
    distance of two shapes is the Procrustes distance. It is at most 1, and it is 0 if the shapes
    differ only by position, rotation and size. Mirrored shapes are different shapes.

    Args:
        films: number of films.
        mean_shape: K points (x, y), with centre 0 and size 1.
        largest_distance: maximum distance of a film's shape to the mean shape of the others.
        turn_deg: range of the rotation from the mean shape to a film's shape, degrees clockwise.
        size_of_film: range of the size as a fraction of the height of the network's frame.
        size_mm: range of the size, millimetres.
        mean_film: mean appearance of the films, as in `mean_patch`, or None if it is not known.
    """

    films: int
    mean_shape: tuple[tuple[float, float], ...]
    largest_distance: float
    turn_deg: Range
    size_of_film: Range
    size_mm: Range
    mean_film: tuple[tuple[float, ...], ...] | None = None

    @property
    def mean(self) -> ComplexArray:
        """The mean shape as complex numbers [K]."""
        return to_complex(np.array(self.mean_shape))

    def to_json(self) -> str:
        """Return the statistics as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ShapeStatistics:
        """Build the statistics from the JSON text that `to_json` returns."""
        content = json.loads(text)
        content["mean_shape"] = tuple(map(tuple, content["mean_shape"]))
        for name in ("turn_deg", "size_of_film", "size_mm"):
            content[name] = tuple(content[name])
        if content.get("mean_film") is not None:
            content["mean_film"] = tuple(map(tuple, content["mean_film"]))
        return cls(**content)


def shape_statistics(
    landmarks_px: FloatArray, frame_height_px: NDArray[Any], spacing_mm: FloatArray
) -> ShapeStatistics | None:
    """Compute the statistics of training films. Films with missing landmarks are ignored.

    Args:
        landmarks_px: [N, K, 2], pixels; NaN where missing.
        frame_height_px: [N], height of the network's frame of each film, pixels of the film.
        spacing_mm: [N], millimetres per pixel.

    Returns:
        The statistics, or None if fewer than three films have all landmarks, if there are fewer
        than four landmarks, or if all landmarks of a film coincide.
    """
    complete = np.isfinite(landmarks_px).all(axis=(1, 2))
    if complete.sum() < _MIN_FILMS or landmarks_px.shape[1] < _MIN_LANDMARKS:
        return None
    points = landmarks_px[complete].astype(np.float64)
    sizes = np.array([shape_size(shape) for shape in points])
    if not sizes.all():
        return None
    shapes = np.array([unit_shape(shape) for shape in points])
    mean = _mean_shape(shapes)
    distances = [
        compare(shape, _mean_shape(np.delete(shapes, number, axis=0)))[0]
        for number, shape in enumerate(shapes)
    ]
    turns = [compare(shape, mean)[1] for shape in shapes]
    return ShapeStatistics(
        films=len(shapes),
        mean_shape=tuple((float(point.real), float(point.imag)) for point in mean),
        largest_distance=max(distances),
        turn_deg=(min(turns), max(turns)),
        size_of_film=_range(sizes / frame_height_px[complete]),
        size_mm=_range(sizes * spacing_mm[complete]),
    )


def _range(values: FloatArray) -> Range:
    return float(values.min()), float(values.max())


def shape_size(points: FloatArray) -> float:
    """Return the root mean square distance of points [K, 2] from their centre."""
    return float(np.sqrt(np.square(points - points.mean(axis=0)).sum(axis=-1).mean()))


def unit_shape(points: FloatArray) -> ComplexArray:
    """Return points [K, 2] as complex numbers [K], shifted to centre 0 and scaled to size 1."""
    centred = (points - points.mean(axis=0)) / shape_size(points)
    unit: ComplexArray = centred[:, 0] + 1j * centred[:, 1]
    return unit


def compare(shape: ComplexArray, mean: ComplexArray) -> tuple[float, float]:
    """Compare two unit shapes [K].

    Returns:
        Their Procrustes distance, and the rotation from `mean` to `shape` in degrees clockwise.
    """
    product = complex(np.vdot(mean, shape)) / len(mean)
    distance = math.sqrt(max(1 - abs(product) ** 2, 0.0))
    return distance, float(np.degrees(np.angle(product)))


def _mean_shape(shapes: ComplexArray) -> ComplexArray:
    """Return the Procrustes mean of unit shapes [N, K], in their average orientation."""
    average = shapes.mean(axis=0)
    mean = average
    for _ in range(_MEAN_STEPS):
        products = shapes @ mean.conj()
        mean = (shapes * (products.conj() / np.abs(products))[:, None]).mean(axis=0)
    turn = np.vdot(mean, average)
    mean = mean * turn / abs(turn)
    unit: ComplexArray = mean / np.sqrt((mean.real**2 + mean.imag**2).mean())
    return unit
