"""The ROI crop as NumPy loops, to test against, and in keras.ops, for any backend.

The loops share nothing with csrc/: they weigh every cell of a level with a hat function instead of
picking four. Shapes and conventions are those of `cephray.ops.roi_crop`. Knows no C++.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
Tensor = Any


def _coordinates(start: Any, end: Any, samples: int, size: int, gradient: bool) -> FloatArray:
    """Positions of the samples along one axis, in cells, rounded in the dtype of the box.

    crop_and_resize divides before it multiplies where it computes the gradient of the boxes.
    """
    number = np.asarray(start).dtype.type
    last = number(size - 1)
    if samples == 1:
        return np.array([number(0.5) * (start + end) * last])
    if gradient:
        step = (end - start) * (last / number(samples - 1))
    else:
        step = (end - start) * last / number(samples - 1)
    return np.array([start * last + number(i) * step for i in range(samples)])


def _hat(coordinate: float, size: int) -> FloatArray:
    """The weight of every cell of an axis in a sample: 1 at its centre, 0 one cell away."""
    return np.maximum(0.0, 1.0 - np.abs(coordinate - np.arange(size, dtype=np.float64)))


def _hat_slope(coordinate: float, size: int) -> FloatArray:
    """The derivative of `_hat`; 0 on the centre of a cell, as crop_and_resize has it."""
    distance = coordinate - np.arange(size, dtype=np.float64)
    return np.where(np.abs(distance) < 1.0, -np.sign(distance), 0.0)


def _samples(
    box: FloatArray, crop_size: tuple[int, int], size: tuple[int, int], gradient: bool = False
) -> Iterator[tuple[int, int, float, float]]:
    """The samples of one box inside one level: (y, x, coordinate along y, coordinate along x)."""
    if not np.isfinite(box).all():
        return
    with np.errstate(over="ignore", invalid="ignore"):
        ys = _coordinates(box[0], box[2], crop_size[0], size[0], gradient)
        xs = _coordinates(box[1], box[3], crop_size[1], size[1], gradient)
    for y, in_y in enumerate(ys):
        for x, in_x in enumerate(xs):
            if 0 <= in_y <= size[0] - 1 and 0 <= in_x <= size[1] - 1:
                yield y, x, float(in_y), float(in_x)


def roi_crop_numpy(
    features: Sequence[FloatArray], boxes: FloatArray, crop_size: tuple[int, int]
) -> NDArray[np.float64]:
    """Crop in float64, one sample at a time.

    Args:
        features: L arrays [B, H_l, W_l, C_l].
        boxes: [B, K, L, 4]; sample positions are rounded in the dtype of `boxes`, so float32
            reproduces the operation and float64 suits finite differences.
        crop_size: (S_h, S_w).

    Returns:
        [B, K, S_h, S_w, ΣC_l], float64.
    """
    B, K = boxes.shape[:2]
    levels = []
    for level, feature in enumerate(features):
        size = (feature.shape[1], feature.shape[2])
        crops = np.zeros((B, K, *crop_size, feature.shape[3]))
        for b, k in np.ndindex(B, K):
            image = feature[b].astype(np.float64)
            for y, x, in_y, in_x in _samples(boxes[b, k, level], crop_size, size):
                weights = np.outer(_hat(in_y, size[0]), _hat(in_x, size[1]))
                crops[b, k, y, x] = np.einsum("hw,hwc->c", weights, image)
        levels.append(crops)
    return np.concatenate(levels, axis=-1)


def roi_crop_numpy_gradients(
    features: Sequence[FloatArray], boxes: FloatArray, crops_gradient: FloatArray
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Gradients of `roi_crop_numpy`, one sample at a time.

    Args:
        features: L arrays [B, H_l, W_l, C_l].
        boxes: [B, K, L, 4], rounding as in `roi_crop_numpy`.
        crops_gradient: [B, K, S_h, S_w, ΣC_l].

    Returns:
        The gradients of the features, L arrays [B, H_l, W_l, C_l], and of the boxes [B, K, L, 4].
    """
    B, K, S_h, S_w, _ = crops_gradient.shape
    of_features = [np.zeros(feature.shape) for feature in features]
    of_boxes = np.zeros(boxes.shape)
    first = 0
    for level, feature in enumerate(features):
        H, W, C = feature.shape[1:]
        gradient = crops_gradient[..., first : first + C].astype(np.float64)
        first += C
        for b, k in np.ndindex(B, K):
            image, box = feature[b].astype(np.float64), boxes[b, k, level]
            for y, x, in_y, in_x in _samples(box, (S_h, S_w), (H, W)):
                weights = np.outer(_hat(in_y, H), _hat(in_x, W))
                of_features[level][b] += weights[..., None] * gradient[b, k, y, x]
            for y, x, in_y, in_x in _samples(box, (S_h, S_w), (H, W), gradient=True):
                weighed = image @ gradient[b, k, y, x]  # [H, W]
                slope_y = _hat_slope(in_y, H) @ weighed @ _hat(in_x, W)
                slope_x = _hat(in_y, H) @ weighed @ _hat_slope(in_x, W)
                towards_y2 = y / (S_h - 1) if S_h > 1 else 0.5
                towards_x2 = x / (S_w - 1) if S_w > 1 else 0.5
                of_boxes[b, k, level] += [
                    slope_y * (H - 1) * (1 - towards_y2),
                    slope_x * (W - 1) * (1 - towards_x2),
                    slope_y * (H - 1) * towards_y2,
                    slope_x * (W - 1) * towards_x2,
                ]
    return of_features, of_boxes


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
