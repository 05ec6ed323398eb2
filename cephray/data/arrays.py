"""Films from arrays in memory.

It knows arrays, but no files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.data.films import Original, highest_bits
from cephray.data.opencv import cv2
from cephray.errors import InputError

_LARGEST_SIDE = 2**15 - 1  # limit of OpenCV's resizing


def film_from_array(array: NDArray[Any]) -> Original:
    """Convert an array to a film.

    Colours are converted to luminance. Of 16-bit values, the 8 highest bits in use are kept, as
    in `read_film`.

    Args:
        array: [H, W], or [H, W, 3] in the order red, green, blue. Values are uint8, uint16, or
            floating in [0, 1], where 0 is black.

    Returns:
        The film, without a spacing.

    Raises:
        InputError: If shape, type or values are not allowed.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise InputError(
            f"a film must have shape [H, W], or [H, W, 3] for colour; got {list(array.shape)}"
        )
    if not 0 < min(array.shape[:2]) <= max(array.shape[:2]) <= _LARGEST_SIDE:
        raise InputError(
            f"a film must have 1 to {_LARGEST_SIDE} rows and columns; got {list(array.shape)}"
        )
    if array.dtype.kind == "f":
        array = _grey_of_fractions(array)
    if array.dtype not in (np.uint8, np.uint16):
        raise InputError(f"a film must be uint8, uint16, or floating in [0, 1]; got {array.dtype}")
    array = np.ascontiguousarray(array)
    if array.ndim == 3:
        array = cv2.cvtColor(array, cv2.COLOR_RGB2GRAY)
    return Original(array if array.dtype == np.uint8 else highest_bits(array))


def _grey_of_fractions(array: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    if not np.isfinite(array).all():
        raise InputError("a film of floating type must be finite; got NaN or infinity")
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        raise InputError(
            f"a film of floating type must lie in [0, 1]; got {low:g} to {high:g}: divide by the "
            "largest possible grey value"
        )
    grey: NDArray[np.uint8] = np.rint(array * 255).astype(np.uint8)
    return grey
