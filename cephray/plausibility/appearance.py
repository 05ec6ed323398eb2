"""The mean appearance of the training films around their landmarks, at a low resolution.

It tells a film from its negative: air is dark on one and bright on the other. No single film can
be recovered from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cephray import geometry
from cephray.plausibility.alignment import to_complex
from cephray.plausibility.statistics import (
    ShapeStatistics,
    compare,
    shape_size,
    shape_statistics,
    unit_shape,
)

FloatArray = NDArray[np.floating[Any]]

SIDE = 20  # samples along a side
_EXTENT = 2.0  # from the centre of the landmarks to the edge, in units of the shape's size


def sample_patch(
    image: NDArray[np.uint8],
    frame: geometry.Frame,
    points_px: FloatArray,
    mean_shape: FloatArray,
) -> FloatArray | None:
    """Sample a film on a grid that lies on the landmarks as on those of the mean shape.

    Args:
        image: uint8 [H, W], the part of the film within the frame.
        frame: the frame, pixels of the film.
        points_px: [K, 2], landmarks, pixels of the film.
        mean_shape: [K, 2], with centre 0 and size 1.

    Returns:
        [SIDE, SIDE], with mean 0 and standard deviation 1; None if the film is uniform there, or
        if the landmarks form no shape.
    """
    size_px = shape_size(points_px)
    if not (np.isfinite(points_px).all() and size_px > 0):
        return None
    _, turn_deg = compare(unit_shape(points_px), to_complex(mean_shape))
    axis = np.linspace(-_EXTENT, _EXTENT, SIDE)
    grid = (axis[None, :] + 1j * axis[:, None]) * size_px * np.exp(1j * np.radians(turn_deg))
    grid_px = points_px.mean(axis=0) + np.stack([grid.real, grid.imag], axis=-1)
    height, width = image.shape
    x, y = np.moveaxis(geometry.normalise(grid_px, frame) * [width, height] - 0.5, -1, 0)
    step = max(1, round(height / frame.height * size_px * 2 * _EXTENT / (SIDE - 1)))
    smooth = ndimage.uniform_filter(image.astype(np.float32), step)
    patch = ndimage.map_coordinates(smooth, [y, x], order=1, mode="nearest")
    return _standardised(patch)


def mean_patch(patches: Iterable[FloatArray | None]) -> tuple[tuple[float, ...], ...] | None:
    """Return the mean of the patches that exist, or None if there are none."""
    there = [patch for patch in patches if patch is not None]
    if not there:
        return None
    mean = _standardised(np.mean(there, axis=0))
    if mean is None:
        return None
    return tuple(tuple(round(float(value), 2) for value in row) for row in mean)


def film_statistics(
    images: Iterable[NDArray[np.uint8]],
    frames: Sequence[geometry.Frame],
    landmarks_norm: FloatArray,
    spacing_mm: FloatArray,
) -> ShapeStatistics | None:
    """Compute the statistics of training films: of their landmarks and of their appearance.

    Args:
        images: N, the parts of the films within their frames, uint8 [H, W]. They are taken one
            after the other.
        frames: N, pixels of the films.
        landmarks_norm: [N, K, 2], normalised; NaN where missing.
        spacing_mm: [N], millimetres per pixel.

    Returns:
        The statistics, or None where `shape_statistics` returns None.
    """
    points_px = np.array(
        [
            geometry.to_pixels(points.astype(np.float64), frame)
            for points, frame in zip(landmarks_norm, frames, strict=True)
        ]
    ).reshape(landmarks_norm.shape)
    heights_px = np.array([frame.height for frame in frames])
    statistics = shape_statistics(points_px, heights_px, spacing_mm)
    if statistics is None:
        return None
    films = zip(images, frames, points_px, strict=True)
    return with_mean_film(statistics, films)


def with_mean_film(
    statistics: ShapeStatistics,
    films: Iterable[tuple[NDArray[np.uint8], geometry.Frame, FloatArray]],
) -> ShapeStatistics:
    """Add the mean appearance of films to statistics of their landmarks.

    Args:
        statistics: of the films.
        films: image, frame and landmarks of each, as in `sample_patch`.
    """
    mean_shape = np.array(statistics.mean_shape)
    patches = (sample_patch(*film, mean_shape) for film in films)
    return replace(statistics, mean_film=mean_patch(patches))


def likeness(patch: FloatArray, mean: FloatArray) -> float:
    """Return the correlation of two patches [SIDE, SIDE]: −1 to 1, below 0 for a negative."""
    return float(np.corrcoef(patch.ravel(), mean.ravel())[0, 1])


def _standardised(patch: FloatArray) -> FloatArray | None:
    deviation = float(patch.std())
    return (patch - patch.mean()) / deviation if deviation > 1e-3 else None
