"""The public ROI crop and its gradient: on TensorFlow the compiled operation, else keras.ops.

The operation library is loaded at the first call. This file knows no arithmetic: that stands in
csrc/kernels/roi_crop.h, and for other backends in reference.py.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from cephray.ops import second_gradient
from cephray.ops.reference import roi_crop_keras

Tensor = Any

REBUILD = "pip install --no-build-isolation --force-reinstall --no-deps ."


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
    size = height_and_width(crop_size)
    if not isinstance(features, list | tuple) or not features:
        raise ValueError(
            "`features` must be a list of at least one tensor [B, H, W, C]; "
            f"got {type(features).__name__}."
        )
    if any(map(keras.utils.is_keras_tensor, [*features, boxes])):
        from cephray.ops.layer import RoiCrop

        return RoiCrop(size)(features, boxes)
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

    try:
        from cephray import _core
    except ImportError as error:
        raise ImportError(f"cephray's compiled part is missing; build it: {REBUILD}") from error
    built = _core.build_info()
    check_tensorflow_version(built["tensorflow"], tf.__version__)
    library = Path(_core.__file__).with_name(str(built["op_library"]))
    if not library.exists():
        raise ImportError(f"cephray's op library {library} is missing; rebuild it: {REBUILD}")
    operations = tf.load_op_library(str(library))
    tf.RegisterGradient("Cephray>RoiCrop")(_roi_crop_gradient)
    second_gradient.register(operations)
    return operations


def check_tensorflow_version(built: str | None, running: str) -> None:
    """Refuse a TensorFlow whose binary interface may differ from the one built for.

    Args:
        built: version that the op library was built for, or None if it was not built.
        running: version of the imported TensorFlow.

    Raises:
        ImportError: another minor version, or no op library; with the command that rebuilds it.
    """
    if built is None:
        raise ImportError(f"cephray was built without its TensorFlow op; rebuild it: {REBUILD}")
    if built.split(".")[:2] != running.split(".")[:2]:
        raise ImportError(
            f"cephray's op was built for TensorFlow {built} and this is {running}; "
            f"rebuild it: {REBUILD}"
        )
