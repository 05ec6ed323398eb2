"""Blanking of the corners of films, in which names and dates are often burnt in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GrayImage = NDArray[np.uint8]

CORNER_PERCENT = 10.0
"""Width and height of the corners that `cephray predict --blank-corners` blanks."""

MOST_PERCENT = 25.0
"""Largest corners: larger ones would meet the head."""


def blank_corners(image: GrayImage, percent: float) -> GrayImage:
    """Replace the four corners of a film by their median grey value.

    Text that stands elsewhere, or that covers most of a corner, is not removed.

    Args:
        image: uint8 [H, W]; not modified.
        percent: width and height of a corner, in percent of those of the film, 0 to
            `MOST_PERCENT`.

    Returns:
        uint8 [H, W].

    Raises:
        ValueError: If the percentage is out of range.
    """
    if not 0 <= percent <= MOST_PERCENT:
        raise ValueError(f"percent must lie between 0 and {MOST_PERCENT:g}; got {percent}")
    rows, columns = (round(side * percent / 100) for side in image.shape)
    blanked = image.copy()
    if not (rows and columns):
        return blanked
    for top in (slice(0, rows), slice(-rows, None)):
        for side in (slice(0, columns), slice(-columns, None)):
            blanked[top, side] = np.median(blanked[top, side])
    return blanked
