"""Gradients of the ROI crop's two gradient operations, for TensorFlow.

The feature gradient g ↦ Jᵀg is linear in g, and its product with h is that of g with the crop of
h: so the crop and the box gradient give its gradients. The box gradient has no such short cut: its
gradients, the second derivative by the boxes among them, come from the keras.ops composition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cephray.ops.reference import roi_crop_keras

Tensor = Any
Gradient = Callable[..., list[Tensor | None]]


def register(operations: Any) -> None:
    """Register both gradients; `operations` is the loaded operation library."""
    import tensorflow as tf

    tf.RegisterGradient("Cephray>RoiCropGradFeatures")(_of_grad_features(operations))
    tf.RegisterGradient("Cephray>RoiCropGradBoxes")(_of_grad_boxes)


def _of_grad_features(operations: Any) -> Gradient:
    def gradient(op: Any, *upstream: Tensor) -> list[Tensor | None]:
        """Inputs: boxes, the gradient of the crops, L shapes. Upstream: L tensors as features."""
        boxes, crops_gradient, *shapes = op.inputs
        skipped = getattr(op, "skip_input_indices", None) or ()
        of_boxes = of_crops_gradient = None
        if 0 not in skipped:
            of_boxes = operations.cephray_roi_crop_grad_boxes(upstream, boxes, crops_gradient)
        if 1 not in skipped:
            height, width = _crop_size(crops_gradient)
            of_crops_gradient = operations.cephray_roi_crop(
                upstream, boxes, crop_height=height, crop_width=width
            )
        return [of_boxes, of_crops_gradient, *[None] * len(shapes)]

    return gradient


def _of_grad_boxes(op: Any, upstream: Tensor) -> list[Tensor | None]:
    """Inputs: L features, boxes, the gradient of the crops. Upstream: a tensor as the boxes."""
    import tensorflow as tf

    inputs = list(op.inputs)
    *features, boxes, crops_gradient = inputs
    with tf.GradientTape() as outer:
        outer.watch(inputs)
        with tf.GradientTape() as inner:
            inner.watch(boxes)
            crops = roi_crop_keras(features, boxes, _crop_size(crops_gradient))
        of_boxes = inner.gradient(crops, boxes, crops_gradient)
    return [
        None if gradient is None else tf.convert_to_tensor(gradient)
        for gradient in outer.gradient(of_boxes, inputs, upstream)
    ]


def _crop_size(crops_gradient: Tensor) -> tuple[int, int]:
    height, width = crops_gradient.shape[2:4] if crops_gradient.shape.rank == 5 else (None, None)
    if height is None or width is None:
        raise ValueError(
            "a second gradient of the ROI crop needs a gradient of the crops whose S_h and S_w "
            f"the graph knows; got shape {crops_gradient.shape}."
        )
    return height, width
