"""Contrast: whether a film shows a picture, or little more than a uniform area."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEWEST_GREYS = 8
"""Minimum number of grey values of a film that shows a head."""

# Minimum fraction of the pixels for a grey value to be counted, so that a text label on a uniform
# film does not count as a picture.
_MIN_FRACTION = 1e-3
_MIN_DEVIATION = 3.0  # standard deviation of the grey values, from 0 to 255


def grey_values(pixels_of_grey: NDArray[np.int64]) -> int:
    """Count the grey values that at least a thousandth of the pixels have.

    Args:
        pixels_of_grey: [256], number of pixels with each grey value.
    """
    return int((pixels_of_grey >= max(1.0, _MIN_FRACTION * pixels_of_grey.sum())).sum())


def has_contrast(image: NDArray[np.uint8]) -> bool:
    """Return whether a film has enough different grey values to show a head.

    Args:
        image: uint8 [H, W], 0 black to 255 white.
    """
    pixels_of_grey = np.bincount(image.reshape(-1), minlength=256)
    return grey_values(pixels_of_grey) >= FEWEST_GREYS and float(image.std()) >= _MIN_DEVIATION
