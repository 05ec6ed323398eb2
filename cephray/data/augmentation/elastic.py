"""Elastic deformation of a film: a smooth displacement of its pixels, and of its landmarks.

All functions are pure functions of a displacement, in pixels of the film. They know no settings
but those of the displacement.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.config import ElasticConfig
from cephray.data.opencv import cv2

GrayImage = NDArray[np.uint8]  # [H, W]
Landmarks = NDArray[np.float32]  # [K, 2], normalised; NaN where missing
Displacement = NDArray[np.float32]  # [H, W, 2], pixels (x, y)

# `ElasticConfig` allows displacements that change by a few tenths of a pixel from pixel to pixel:
# the error falls to a tenth within a few iterations.
_ITERATIONS = 20


def draw_displacement(
    rng: np.random.Generator, size: tuple[int, int], config: ElasticConfig
) -> Displacement:
    """Draw a displacement: uniform at the points of a coarse grid, smooth between them.

    Args:
        rng: random generator.
        size: width and height of the film, pixels.
        config: grid and largest shift.

    Returns:
        float32 [H, W, 2]: how far from a pixel of the bent film its place on the original one is.
    """
    shifts = rng.uniform(-1, 1, (config.points, config.points, 2)) * config.max_shift * size[1]
    # Cubic interpolation may exceed the values of the grid by about a half.
    smooth: Displacement = cv2.resize(
        shifts.astype(np.float32), size, interpolation=cv2.INTER_CUBIC
    )
    return smooth


def sources(displacement: Displacement) -> NDArray[np.float32]:
    """Return where each pixel of the bent film comes from: [H, W, 2], centres at integers."""
    height, width = displacement.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return displacement + np.stack([x, y], axis=-1)


def bend(landmarks_norm: Landmarks, displacement: Displacement) -> Landmarks:
    """Return where landmarks lie on the bent film.

    The displacement says where pixels come from. Where landmarks go is its inverse, found by a
    fixed-point iteration.

    Args:
        landmarks_norm: [K, 2], normalised; NaN where missing.
        displacement: [H, W, 2], pixels, of `draw_displacement`.

    Returns:
        float32 [K, 2], normalised. Beyond the film, the displacement of its edge is used.
    """
    height, width = displacement.shape[:2]
    size = np.array([width, height])
    target = np.asarray(landmarks_norm, np.float64) * size - 0.5  # pixel centres at integers
    known = ~np.isnan(target).any(axis=-1)
    target = target[known]
    points = target
    for _ in range(_ITERATIONS):
        points = target - _between_pixels(displacement, points)
    bent = np.full_like(landmarks_norm, np.nan)
    bent[known] = (points + 0.5) / size
    return bent


def _between_pixels(displacement: Displacement, points: NDArray[np.float64]) -> Any:
    """Interpolate the displacement linearly at points [K, 2], pixels."""
    height, width = displacement.shape[:2]
    inside = np.clip(points, 0, (width - 1, height - 1))
    low = np.minimum(inside.astype(int), (width - 2, height - 2))
    x, y = low.T
    right, down = (inside - low).T[..., None]
    top = displacement[y, x] * (1 - right) + displacement[y, x + 1] * right
    bottom = displacement[y + 1, x] * (1 - right) + displacement[y + 1, x + 1] * right
    return top * (1 - down) + bottom * down
