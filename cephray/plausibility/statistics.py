"""Statistics of the shapes that the training films' landmarks form.

They are a mean shape and a few limits, which a checkpoint stores. All films count alike: training
landmarks are taken to be right. `alignment.py` has the fits that do without that assumption.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
Complex = NDArray[np.complex128]  # points as x + iy, so that a turn is a factor

Range = tuple[float, float]

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
        size_of_film=_range(sizes / frame_height_px[whole]),
        size_mm=_range(sizes * spacing_mm[whole]),
    )


def _range(values: FloatArray) -> Range:
    return float(values.min()), float(values.max())


def shape_size(points: FloatArray) -> float:
    """Return the root mean square distance of points [K, 2] from their centre."""
    return float(np.sqrt(np.square(points - points.mean(axis=0)).sum(axis=-1).mean()))


def unit_shape(points: FloatArray) -> Complex:
    """Return a shape centred and of size 1."""
    centred = (points - points.mean(axis=0)) / shape_size(points)
    unit: Complex = centred[:, 0] + 1j * centred[:, 1]
    return unit


def compare(shape: Complex, mean: Complex) -> tuple[float, float]:
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
