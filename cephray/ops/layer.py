"""The ROI crop as a Keras layer.

It has no weights. What is computed stands in crop.py, and for other backends than TensorFlow in
reference.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from cephray.ops.crop import crop_tensors, height_and_width

Tensor = Any


@keras.saving.register_keras_serializable("cephray")
class RoiCrop(keras.layers.Layer):
    """Crops boxes out of every level of a feature pyramid, with bilinear interpolation.

    On the TensorFlow backend it runs cephray's operation, on other backends a composition of
    `keras.ops` with the same values up to rounding. See `cephray.ops.roi_crop`.

    Example:
        >>> features = [keras.Input((8, 8, 4)), keras.Input((4, 4, 2))]
        >>> boxes = keras.Input((3, 2, 4))
        >>> RoiCrop(5)(features, boxes).shape
        (None, 3, 5, 5, 6)

    Args:
        crop_size: S, or (S_h, S_w): samples per box, at least 1.

    Input shape:
        A list of L tensors [B, H_l, W_l, C_l], and boxes [B, K, L, 4], each [y1, x1, y2, x2] as in
        `tf.image.crop_and_resize`.

    Output shape:
        [B, K, S_h, S_w, ΣC_l]

    Raises:
        ValueError: `crop_size` cannot be used.
    """

    def __init__(self, crop_size: int | tuple[int, int], **options: Any) -> None:
        # Autocasting would round the boxes to the type of the features.
        super().__init__(**{"autocast": False, **options})
        self.crop_size = height_and_width(crop_size)

    def call(self, features: Sequence[Tensor], boxes: Tensor) -> Tensor:
        """Return the crops."""
        return crop_tensors(features, boxes, self.crop_size)

    def compute_output_spec(self, features: Sequence[Tensor], boxes: Tensor) -> keras.KerasTensor:
        """Return the shape and type of the crops."""
        channels = [feature.shape[-1] for feature in features]
        total = None if None in channels else sum(channels)
        shape = (boxes.shape[0], boxes.shape[1], *self.crop_size, total)
        return keras.KerasTensor(shape, dtype=features[0].dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "crop_size": self.crop_size}
