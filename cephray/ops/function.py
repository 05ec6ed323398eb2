"""The ROI crop as a function, for tensors and for KerasTensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from cephray.ops.crop import crop_tensors
from cephray.ops.layer import RoiCrop

Tensor = Any


def roi_crop(
    features: Sequence[Tensor], boxes: Tensor, crop_size: int | tuple[int, int]
) -> Tensor:
    """Crop boxes out of every level of a feature pyramid, with bilinear interpolation.

    Per level the value is that of `tf.image.crop_and_resize` with extrapolation value 0, and so
    are the gradients to features and boxes. Boxes may leave the image, be inverted or have zero
    size. A box with a coordinate that is not finite gives zeros and zero gradients. Same input,
    same bits, whatever the number of threads.

    Example:
        >>> features = [np.ones((1, 8, 8, 4), "float32"), np.ones((1, 4, 4, 2), "float32")]
        >>> boxes = np.broadcast_to(np.float32([0, 0, 1, 1]), (1, 3, 2, 4))
        >>> roi_crop(features, boxes, 5).shape
        TensorShape([1, 3, 5, 5, 6])

    Args:
        features: L tensors or KerasTensors [B, H_l, W_l, C_l] of one floating dtype: float16,
            bfloat16, float32 or float64. Interpolated in float32, or float64 for float64.
        boxes: [B, K, L, 4], cast to float32; [y1, x1, y2, x2] as in crop_and_resize: 0 is the
            centre of a level's first cell, 1 the centre of its last.
        crop_size: S, or (S_h, S_w): samples per box, at least 1; a single one lies in the middle.

    Returns:
        [B, K, S_h, S_w, ΣC_l], levels concatenated from first to last, in the features' dtype.

    Raises:
        ValueError: features or crop size that cannot be used; in a graph also shapes.
        tf.errors.InvalidArgumentError: shapes that do not fit together, found while running.
        ImportError: the operation library is missing or built for another TensorFlow.
    """
    if not isinstance(features, list | tuple) or not any(
        map(keras.utils.is_keras_tensor, [*features, boxes])
    ):
        return crop_tensors(features, boxes, crop_size)
    return RoiCrop(crop_size)(features, boxes)
