"""Batch normalisation of one replica's films in one kernel of TensorFlow's.

Keras composes it of a dozen operations, each of which reads or writes a whole feature map. It
knows layers, and neither network nor strategy.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import tensorflow as tf

Tensor = Any


# The types that TensorFlow's kernel takes.
_DTYPES = ("float32", "bfloat16", "float16")


def fuse_batch_norm(model: keras.Model) -> None:
    """Compute batch normalisation with one kernel in each direction during training.

    Layers whose inputs are not images, or that normalise another axis than the last, are left
    as they are. In half precision the kernel keeps statistics, scale and offset in float32, as
    Keras does.

    Args:
        model: A built model of one replica.
    """
    for layer in model.layers:
        if (
            isinstance(layer, keras.layers.BatchNormalization)
            and layer.compute_dtype in _DTYPES
            and len(layer.input.shape) == 4
            and layer.axis in (-1, 3)
            and layer.scale
            and layer.center
        ):
            layer.call = partial(_normalise, layer, layer.call)


def _normalise(
    layer: keras.layers.BatchNormalization,
    composed: Any,
    inputs: Tensor,
    training: bool | None = None,
    mask: None = None,
) -> Tensor:
    """Normalise [b, H, W, C] as the layer does, and move its averages."""
    if not training or not layer.trainable or mask is not None:
        return composed(inputs, training=training, mask=mask)
    normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=tf.cast(layer.gamma, tf.float32),
        offset=tf.cast(layer.beta, tf.float32),
        mean=tf.zeros((0,)),
        variance=tf.zeros((0,)),
        epsilon=layer.epsilon,
    )
    # The kernel divides by one less than the count; Keras, and what it normalises by, do not.
    count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
    variance = variance * ((count - 1.0) / count)
    for average, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        average.assign(average * layer.momentum + value * (1.0 - layer.momentum))
    return normalised
