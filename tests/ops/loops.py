"""The ROI crop and its gradients as NumPy loops in float64, to test against.

The loops share nothing with csrc/: they weigh every cell of a level with a hat function instead of
picking four. Shapes and conventions are those of `cephray.ops.roi_crop`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]


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
