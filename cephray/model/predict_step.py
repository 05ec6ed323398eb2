"""The inference step: images in, landmarks of both stages out, as one graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cephray.model.compiled import CompiledStep, Jit
from cephray.model.network import Prediction, image_shape, predict

Tensor = Any
PredictStep = Callable[[Tensor], Prediction]


def build_predict_step(model: keras.Model, jit: Jit | None = None) -> PredictStep:
    """Build inference: image [b, H, W, 3] -> Prediction, in evaluation mode.

    Args:
        model: of `build_network`.
        jit: the validation batches that XLA compiles inference for, or None to do without XLA.
    """
    signature = [tf.TensorSpec((None, *image_shape(model)), tf.float32)]

    def step(image: Tensor) -> Prediction:
        return predict(model, image)._replace(heatmap=None, regressed=None)

    plain = tf.function(step, input_signature=signature)
    if jit is None:
        return plain  # type: ignore[no-any-return]
    compiled = tf.function(step, input_signature=signature, jit_compile=True)
    sizes = frozenset([jit.validation_size])
    return CompiledStep("validation step", compiled, plain, sizes, jit)
