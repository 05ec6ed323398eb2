"""Conversions between pixels, normalised coordinates and millimetres.

All conversions are in this module. The rest of cephray refers to its conventions:

- Points are (x, y). Pixel (0, 0) is the *centre* of the first pixel of the film, as in the
  annotation files. A film of width W covers the continuous range [-0.5, W - 0.5].
- Normalised coordinates run from 0 at the left (top) edge to 1 at the right (bottom) edge of
  the frame that the network sees. If the frame is the whole film, `norm = (px + 0.5) / W`.
  Resizing does not change them. Mirroring maps x to 1 - x.
- A feature map of stride s has the centre of its cell i at image coordinate `(i + 0.5) s`.
- Boxes are [y1, x1, y2, x2] in the units of `tf.image.crop_and_resize`: 0 is the centre of the
  first cell of a feature map, 1 the centre of its last cell.

It knows NumPy and keras.ops, but no files and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]

# Upper bound of boxes, just below the centre of the last cell. If a box ended at 1, rounding could
# put its last sample beyond the border, where samples are 0, and the crop would jump.
_BOX_END = 1 - 2**-20

# Tolerance in cells within which a point counts as lying on the edge of a cell. The mean of two
# readers often lies on such an edge (x.5 pixels). A round trip through normalised float32
# coordinates moves it by up to 1.3e-4 pixels.
_EDGE_TOLERANCE = 2.5e-4


class Frame(NamedTuple):
    """The part of a film that the network sees, in whole pixels. It may extend beyond the film.

    `left` and `top` are the indices of the first pixel. The frame's edge lies half a pixel before
    the centre of that pixel.
    """

    left: int
    top: int
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.width, self.height


def whole_film(size_px: tuple[int, int]) -> Frame:
    """Return the frame that covers a whole film.

    Args:
        size_px: (width, height) of the film, pixels.
    """
    return Frame(0, 0, *size_px)


def letterbox(size_px: tuple[int, int], aspect: float) -> Frame:
    """Return the smallest frame with a given aspect ratio that contains a film, centred on it.

    Args:
        size_px: (width, height) of the film, pixels.
        aspect: height of the frame divided by its width. The frame's sides are rounded to whole
            pixels.
    """
    width, height = size_px
    frame_width = max(width, round(height / aspect))
    frame_height = max(height, round(width * aspect))
    return Frame(
        (width - frame_width) // 2, (height - frame_height) // 2, frame_width, frame_height
    )


def normalise(points_px: FloatArray, frame: Frame) -> FloatArray:
    """Convert pixels to normalised coordinates.

    Args:
        points_px: [..., 2], pixels (x, y) of the film.
        frame: the frame that the normalised coordinates refer to.

    Returns:
        [..., 2], normalised.
    """
    dtype = points_px.dtype
    return (points_px + 0.5 - np.array(frame[:2], dtype)) / np.array(frame[2:], dtype)


def to_pixels(points_norm: FloatArray, frame: Frame) -> FloatArray:
    """Convert normalised coordinates to pixels of the film. This is the inverse of `normalise`.

    Args:
        points_norm: [..., 2], normalised (x, y).
        frame: the frame that the normalised coordinates refer to.

    Returns:
        [..., 2], pixels.
    """
    dtype = points_norm.dtype
    return points_norm * np.array(frame[2:], dtype) + np.array(frame[:2], dtype) - 0.5


def outside(points_px: FloatArray, size_px: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which points lie outside a film.

    Args:
        points_px: [..., 2], pixels (x, y).
        size_px: (width, height) of the film, pixels.

    Returns:
        [...], True where a point lies beyond an edge of the film. It is False for missing points
        (NaN).
    """
    norm = normalise(points_px, whole_film(size_px))
    beyond: NDArray[np.bool_] = np.any((norm < 0) | (norm > 1), axis=-1)
    return beyond


def to_grid(points_px: FloatArray, cell_px: FloatArray | float) -> FloatArray:
    """Move points to the centres of the grid cells that they lie in.

    The grid starts at the film's left and top edges. With cells of one pixel, coordinates are
    rounded half up to whole pixels. If the film and the cells are resized by the same factor,
    the result is the resized result.

    Args:
        points_px: [..., 2], pixels (x, y).
        cell_px: side of a cell, pixels. It is broadcast against the points.

    Returns:
        [..., 2], pixels.
    """
    cells = np.floor((points_px + 0.5) / cell_px + _EDGE_TOLERANCE)
    centres_px: FloatArray = (cells + 0.5) * cell_px - 0.5
    return centres_px


def offsets_mm(
    predicted_norm: FloatArray, truth_norm: FloatArray, extent_mm: FloatArray
) -> FloatArray:
    """Return the offsets from true to predicted landmarks.

    Args:
        predicted_norm: [B, K, 2], normalised.
        truth_norm: [B, K, 2], normalised; NaN where a landmark is missing.
        extent_mm: [B, 2], width and height of each film in millimetres (pixels × spacing).

    Returns:
        [B, K, 2], millimetres. Positive x is to the right, positive y is down. The offset is NaN
        where a landmark is missing.
    """
    return (predicted_norm - truth_norm) * extent_mm[:, None, :]


def radial_errors_mm(
    predicted_norm: FloatArray, truth_norm: FloatArray, extent_mm: FloatArray
) -> FloatArray:
    """Return the distances between predicted and true landmarks.

    Args:
        predicted_norm, truth_norm, extent_mm: as in `offsets_mm`.

    Returns:
        [B, K], millimetres; NaN where a landmark is missing.
    """
    errors_mm: FloatArray = np.linalg.norm(
        offsets_mm(predicted_norm, truth_norm, extent_mm), axis=-1
    )
    return errors_mm


def windows(
    points_norm: Any,
    level_sizes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    image_size: tuple[int, int],
    window_cells: Sequence[int],
) -> Any:
    """Return boxes around points, one for each pyramid level, clipped to just inside the image.

    Args:
        points_norm: tensor [B, K, 2], normalised (x, y).
        level_sizes: (H_l, W_l) of each of the L feature maps, cells.
        strides: L strides of the feature maps, image pixels per cell.
        image_size: (H, W) of the image, pixels.
        window_cells: L window sides, each in cells of its level.

    Returns:
        float32 tensor [B, K, L, 4], boxes [y1, x1, y2, x2]. If a point is not finite, neither is
        its box.
    """
    from keras import ops

    points = ops.cast(points_norm, "float32")
    image_xy = np.array([image_size[1], image_size[0]], np.float32)
    boxes = []
    for (height, width), stride, cells in zip(level_sizes, strides, window_cells, strict=True):
        centre = points * (image_xy / stride) - 0.5  # [B, K, 2], cells (x, y)
        last_cell = np.array([max(width - 1, 1), max(height - 1, 1)], np.float32)
        low = ops.clip((centre - cells / 2) / last_cell, 0.0, _BOX_END)
        high = ops.clip((centre + cells / 2) / last_cell, 0.0, _BOX_END)
        boxes.append(ops.concatenate([low[..., ::-1], high[..., ::-1]], axis=-1))
    return ops.stack(boxes, axis=2)  # [B, K, L, 4]
