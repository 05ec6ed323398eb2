"""The ROI crop of tensors and its gradient: on TensorFlow the operation, else `keras.ops`.

The operation library is loaded at the first call. This file knows no arithmetic: that stands in
csrc/kernels/roi_crop.h, and for other backends in reference.py.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import keras

from cephray.ops import second_gradient
from cephray.ops.library import operation_library
from cephray.ops.reference import roi_crop_keras

Tensor = Any


def crop_tensors(
    features: Sequence[Tensor], boxes: Tensor, crop_size: int | tuple[int, int]
) -> Tensor:
    """Crop tensors that have values; see `roi_crop`."""
    size = height_and_width(crop_size)
    if not isinstance(features, list | tuple) or not features:
        raise ValueError(
            "`features` must be a list of at least one tensor [B, H, W, C]; "
            f"got {type(features).__name__}."
        )
    if keras.backend.backend() != "tensorflow":
        return roi_crop_keras(features, boxes, size)
    import tensorflow as tf

    features = [tf.convert_to_tensor(feature) for feature in features]
    dtypes = [feature.dtype.name for feature in features]
    if len(set(dtypes)) > 1 or not features[0].dtype.is_floating:
        raise ValueError(f"`features` must all have one floating dtype; got {dtypes}.")
    return load_operations().cephray_roi_crop(
        features, tf.cast(boxes, tf.float32), crop_height=size[0], crop_width=size[1]
    )


def _roi_crop_gradient(op: Any, crops_gradient: Tensor) -> list[Tensor | None]:
    """The gradient of Cephray>RoiCrop: L features, then boxes."""
    import tensorflow as tf

    *features, boxes = op.inputs
    levels = len(features)
    # A gradient tape says which inputs need no gradient; a graph prunes what is not used.
    skipped = getattr(op, "skip_input_indices", None) or ()
    of_features: list[Tensor | None] = [None] * levels
    if not all(level in skipped for level in range(levels)):
        shapes = [tf.shape(feature, out_type=tf.int64) for feature in features]
        of_features = list(
            load_operations().cephray_roi_crop_grad_features(boxes, crops_gradient, shapes)
        )
    of_boxes = None
    if levels not in skipped:
        of_boxes = load_operations().cephray_roi_crop_grad_boxes(features, boxes, crops_gradient)
    return [*of_features, of_boxes]


def height_and_width(crop_size: int | tuple[int, int]) -> tuple[int, int]:
    """Return (S_h, S_w) of a crop size, S or (S_h, S_w).

    Raises:
        ValueError: not one or two whole numbers of at least 1.
    """
    sizes = crop_size if isinstance(crop_size, list | tuple) else (crop_size, crop_size)
    try:
        height, width = (operator.index(size) for size in sizes)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        raise ValueError(
            f"`crop_size` must be one or two whole numbers of at least 1; got {crop_size!r}."
        )
    return height, width


@functools.cache
def load_operations() -> Any:
    """Load the operation library and register the gradients; once per process."""
    import tensorflow as tf

    operations = tf.load_op_library(str(operation_library(tf.__version__)))
    tf.RegisterGradient("Cephray>RoiCrop")(_roi_crop_gradient)
    second_gradient.register(operations)
    return operations
