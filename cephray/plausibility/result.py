"""Checks whether a predicted result can be true, and gives the reasons if it cannot.

The predicted shape is compared with the statistics of the training films' shapes. It knows arrays,
but no networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray import geometry
from cephray.plausibility.appearance import likeness, sample_patch
from cephray.plausibility.contrast import has_contrast
from cephray.plausibility.statistics import (
    Range,
    ShapeStatistics,
    compare,
    shape_size,
    unit_shape,
)

FloatArray = NDArray[np.floating[Any]]

# Margins around the ranges of the training films. They were chosen on 150 upright and 25 turned or
# mirrored training films, before any other film was examined.
_DISTANCE_MARGIN = 1.2
_TURN_MARGIN_DEG = 10.0
_SIZE_MARGIN = 1.5

# Likeness to the training films below which a film is taken for a negative. Of the 150 training
# films of the checkpoint in the package, the smallest likeness is 0.42.
_NEGATIVE = -0.2

_LARGEST_TURN_DEG = 45.0  # from which another quarter turn is nearer to upright

LARGEST_RADIUS = 0.17
"""Median 95 % radius, as a fraction of the shape's size, above which a result is doubtful.

It is twice the largest such value on the training films of the checkpoint in the package.
"""


def strangeness(
    landmarks_px: FloatArray, radius_px: FloatArray | None, statistics: ShapeStatistics | None
) -> float:
    """Return how unlike those of an upright lateral cephalogram that faces right landmarks are.

    Args:
        landmarks_px: [K, 2], predicted landmarks, pixels of the film.
        radius_px: [K], 95 % radius of each landmark, pixels of the film; None if unknown.
        statistics: statistics of the training films' shapes; None if unknown.

    Returns:
        At most 1 if the film is recognised as one; 0 if neither radii nor statistics are known.
    """
    size_px = shape_size(landmarks_px)
    if not (np.isfinite(landmarks_px).all() and size_px > 0):
        return math.inf
    found = [0.0]
    if radius_px is not None:
        found.append(float(np.median(radius_px)) / (LARGEST_RADIUS * size_px))
    if statistics is not None:
        distance, turn_deg = compare(unit_shape(landmarks_px), statistics.mean)
        found.append(distance / (_DISTANCE_MARGIN * statistics.largest_distance))
        if abs(turn_deg) > _LARGEST_TURN_DEG:
            found.append(math.inf)
    return max(found)


def is_negative(
    image: NDArray[np.uint8],
    frame: geometry.Frame,
    landmarks_px: FloatArray,
    statistics: ShapeStatistics | None,
) -> bool:
    """Return whether black and white are swapped, compared with the training films.

    Args:
        image: uint8 [H, W], the part of the film within the frame.
        frame: the frame, pixels of the film.
        landmarks_px: [K, 2], landmarks, pixels of the film.
        statistics: statistics of the training films. If they lack the appearance, or are None,
            nothing is taken for a negative.
    """
    if statistics is None or statistics.mean_film is None:
        return False
    patch = sample_patch(image, frame, landmarks_px, np.array(statistics.mean_shape))
    return patch is not None and likeness(patch, np.array(statistics.mean_film)) < _NEGATIVE


def doubts(
    image: NDArray[np.uint8],
    landmarks_px: FloatArray,
    size_px: tuple[int, int],
    frame_height_px: float,
    spacing_mm: float,
    radius_px: FloatArray | None,
    statistics: ShapeStatistics | None,
) -> tuple[str, ...]:
    """Return the reasons why a predicted result is doubtful.

    Args:
        image: uint8 [h, w], the network's input.
        landmarks_px: [K, 2], predicted landmarks, pixels of the film.
        size_px: (width, height) of the film, pixels.
        frame_height_px: height of the network's frame, pixels of the film.
        spacing_mm: millimetres per pixel, or NaN if unknown.
        radius_px: [K], 95 % radius of each landmark, pixels of the film. If None, it is not
            checked.
        statistics: statistics of the training films' shapes. If None, the shape is not checked.

    Returns:
        One clause for each reason. The tuple is empty if the result is plausible.
    """
    found = []
    if not has_contrast(image):
        found.append("the film has hardly any contrast")
    if not np.isfinite(landmarks_px).all():
        return (*found, "some landmarks are not numbers")
    count = int(geometry.outside(landmarks_px, size_px).sum())
    if count:
        found.append(f"{count} of {len(landmarks_px)} landmarks lie outside the film")
    size_of_shape_px = shape_size(landmarks_px)
    if radius_px is not None and np.median(radius_px) > LARGEST_RADIUS * size_of_shape_px:
        found.append("the network is unsure of most landmarks: is this a lateral cephalogram?")
    if statistics is not None:
        found += _shape_doubts(landmarks_px, frame_height_px, spacing_mm, statistics)
    return tuple(found)


def _shape_doubts(
    landmarks_px: FloatArray,
    frame_height_px: float,
    spacing_mm: float,
    statistics: ShapeStatistics,
) -> Sequence[str]:
    size_px = shape_size(landmarks_px)
    if not size_px:
        return ["all landmarks lie at one place"]
    mean = statistics.mean
    shape = unit_shape(landmarks_px)
    distance, turn_deg = compare(shape, mean)
    found = []
    limit = _DISTANCE_MARGIN * statistics.largest_distance
    if distance > limit:
        mirrored = compare(-shape.conj(), mean)[0] <= limit
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
