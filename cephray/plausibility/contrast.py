"""Contrast: whether grey values show a picture, or little more than one even area."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEWEST_GREYS = 8
"""A film with fewer grey values than this shows no head."""

# A grey value counts if at least this fraction of the pixels has it: a label burnt into an even
# film does not make a picture of it.
_COUNTED = 1e-3
_LEAST_DEVIATION = 3.0  # standard deviation of the grey values, of 255


def grey_values(pixels_of_grey: NDArray[np.int64]) -> int:
    """Count the grey values that a noteworthy fraction of the pixels has.

    Args:
        pixels_of_grey: [256], number of pixels of each grey value.
    """
    return int((pixels_of_grey >= max(1.0, _COUNTED * pixels_of_grey.sum())).sum())


def has_contrast(image: NDArray[np.uint8]) -> bool:
    """Return whether a film has enough different grey values to show a head.

    Args:
        image: [H, W], 0 black to 255 white.
    """
    pixels_of_grey = np.bincount(image.reshape(-1), minlength=256)
    return grey_values(pixels_of_grey) >= FEWEST_GREYS and float(image.std()) >= _LEAST_DEVIATION
