"""The ROI crop composed of `keras.ops`, for any Keras backend.

Shapes and conventions are those of `cephray.ops.roi_crop`. It knows no C++.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
Tensor = Any


def _locate(
    start: Tensor, end: Tensor, samples: int, size: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cells and weights of the samples along one axis.

    Args:
        start: [B, K], float32, finite.
        end: [B, K], float32, finite.
        samples: S.
        size: number of cells.

    Returns:
        Lower cell, higher cell (int32), weight of the higher (float32), inside (bool): [B, K, S].
    """
    last = ops.cast(size - 1, "float32")
    start, end = start[..., None], end[..., None]
    if samples == 1:
        coordinate = 0.5 * (start + end) * last
    else:
        step = (end - start) * last / (samples - 1)
        coordinate = start * last + ops.arange(samples, dtype="float32") * step
    # NaN compares false, so it is outside. A sample outside is moved to a safe place before it is
    # used: masking only the result would let NaN into the gradient.
    inside = ops.logical_and(coordinate >= 0, coordinate <= last)
    coordinate = ops.where(inside, coordinate, 0.0)
    low = ops.floor(coordinate)
    weight = coordinate - low
    low = ops.cast(low, "int32")
    return low, low + ops.cast(weight > 0, "int32"), weight, inside


def _crop_level(feature: Tensor, boxes: Tensor, crop_size: tuple[int, int]) -> Tensor:
    """One level of `roi_crop_keras`: [B, H, W, C] and [B, K, 4] to [B, K, S_h, S_w, C]."""
    B, H, W, C = ops.shape(feature)
    dtype = feature.dtype
    compute = "float64" if "float64" in str(dtype) else "float32"
    finite = ops.all(ops.isfinite(boxes), axis=-1)  # [B, K]
    boxes = ops.where(finite[..., None], boxes, 0.0)
    top, bottom, weight_y, inside_y = _locate(boxes[..., 0], boxes[..., 2], crop_size[0], H)
    left, right, weight_x, inside_x = _locate(boxes[..., 1], boxes[..., 3], crop_size[1], W)
    weight_y = ops.cast(weight_y[..., :, None, None], compute)  # [B, K, S_h, 1, 1]
    weight_x = ops.cast(weight_x[..., None, :, None], compute)  # [B, K, 1, S_w, 1]

    cells = ops.reshape(feature, (B * H * W, C))
    first_row = ops.reshape(ops.arange(B, dtype="int32") * H, (-1, 1, 1, 1))

    def take(y: Tensor, x: Tensor) -> Tensor:
        index = (first_row + y[..., :, None]) * W + x[..., None, :]  # [B, K, S_h, S_w]
        return ops.cast(ops.take(cells, index, axis=0), compute)

    top_left, bottom_left = take(top, left), take(bottom, left)
    upper = top_left + (take(top, right) - top_left) * weight_x
    lower = bottom_left + (take(bottom, right) - bottom_left) * weight_x
    crops = upper + (lower - upper) * weight_y

    inside = ops.logical_and(inside_y[..., :, None], inside_x[..., None, :])
    inside = ops.logical_and(inside, finite[..., None, None])
    return ops.cast(ops.where(inside[..., None], crops, ops.zeros_like(crops)), dtype)


def roi_crop_keras(
    features: Sequence[Tensor], boxes: Tensor, crop_size: tuple[int, int]
) -> Tensor:
    """Crop with keras.ops, on any Keras backend, differentiable by it.

    Its box gradient rounds sample positions as the crop does, the operation's as crop_and_resize's
    box gradient does: they may differ for a sample within one rounding of a cell's centre.

    Args:
        features: L tensors [B, H_l, W_l, C_l].
        boxes: [B, K, L, 4].
        crop_size: (S_h, S_w).

    Returns:
        [B, K, S_h, S_w, ΣC_l], in the dtype of the features.
    """
    boxes = ops.cast(boxes, "float32")
    features = [ops.convert_to_tensor(feature) for feature in features]
    crops = [_crop_level(feature, boxes[:, :, i], crop_size) for i, feature in enumerate(features)]
    return ops.concatenate(crops, axis=-1)
