"""Landmarks turned and mirrored such that the face is upright and looks to the right."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.landmarks import LandmarkSet

FloatArray = NDArray[np.floating[Any]]

UPRIGHT_BY = ("S", "N", "Me")
"""Abbreviations of sella, nasion and menton, which tell how a film lies."""


def upright(points_px: FloatArray, landmarks: LandmarkSet) -> FloatArray:
    """Return landmarks as on an upright film whose face looks to the right.

    The way from sella to nasion runs forwards, and menton is below it. Landmarks on a film of a
    face that looks to the left are mirrored; those on a film that lies on its side or upside down
    are turned by multiples of 90 degrees.

    Args:
        points_px: [..., K, 2], pixels (x, y), with y down; NaN where missing.
        landmarks: set of the K landmarks.

    Returns:
        [..., K, 2], pixels from another origin. Where one of the three landmarks is missing, the
        film is taken for upright.
    """
    indices = [landmarks.find(name) for name in UPRIGHT_BY]
    if None in indices:
        return points_px
    sella, nasion, menton = (points_px[..., index, :] for index in indices)
    forwards, down = nasion - sella, menton - sella
    cross = forwards[..., 0] * down[..., 1] - forwards[..., 1] * down[..., 0]
    looks_left = cross < 0  # as in other cases below, False where a landmark is missing
    x, y = points_px[..., 0], points_px[..., 1]
    x = np.where(looks_left[..., None], -1 - x, x)  # keeps the grid of whole pixels
    forwards_x = np.where(looks_left, -forwards[..., 0], forwards[..., 0])
    angle = np.arctan2(forwards[..., 1], forwards_x)
    quarters = np.where(np.isfinite(angle), np.round(angle / (np.pi / 2)), 0.0)[..., None] % 4
    turned = np.select(  # counter-clockwise
        [quarters == 1, quarters == 2, quarters == 3],
        [np.stack([y, -1 - x]), np.stack([-1 - x, -1 - y]), np.stack([-1 - y, x])],
        np.stack([x, y]),
    )
    return np.moveaxis(turned, 0, -1)
