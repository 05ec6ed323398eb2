"""Checks of the arrays that measurements take: landmarks of films, and their spacings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.landmarks import LandmarkSet

FloatArray = NDArray[np.floating[Any]]


def finite_points(landmarks_px: FloatArray, landmarks: LandmarkSet) -> NDArray[np.float64]:
    """Return landmarks with NaN for those that are missing.

    Args:
        landmarks_px: [..., K, 2], pixels. Missing landmarks are NaN or infinite.
        landmarks: set of the K landmarks.

    Raises:
        ValueError: If the shape is invalid.
    """
    points = np.asarray(landmarks_px, np.float64)
    if points.shape[-2:] != (len(landmarks), 2):
        raise ValueError(
            f"landmarks_px must have shape [..., {len(landmarks)}, 2] for landmark set"
            f" {landmarks.name!r}; got {list(points.shape)}"
        )
    return np.where(np.isfinite(points), points, np.nan)


def spacings(
    landmarks_px: FloatArray, spacing_mm: FloatArray | float | None
) -> NDArray[np.float64]:
    """Return millimetres per pixel of films, NaN if unknown.

    Args:
        landmarks_px: [..., K, 2], landmarks of the films.
        spacing_mm: a number for all films, or an array [...]. It is None or NaN if unknown.

    Raises:
        ValueError: If the shape or a spacing is invalid.
    """
    spacings_mm = np.asarray(np.nan if spacing_mm is None else spacing_mm, np.float64)
    films = np.shape(landmarks_px)[:-2]
    if spacings_mm.ndim and spacings_mm.shape != films:
        raise ValueError(
            f"spacing_mm must be one number, or an array of one number for each film, of shape"
            f" {list(films)}; got shape {list(spacings_mm.shape)}"
        )
    if (spacings_mm <= 0).any() or np.isinf(spacings_mm).any():
        raise ValueError(
            "spacing_mm must be a number of millimetres per pixel above 0, or NaN if unknown;"
            f" got {spacing_mm}"
        )
    return spacings_mm
