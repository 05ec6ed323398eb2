"""Batch normalisation of the films of one replica in one kernel, and of the films of all replicas.

Both are Keras's layer with another computation in training. It knows layers, and no network.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

Tensor = Any

# The types that TensorFlow's kernel takes.
_DTYPES = ("float32", "bfloat16", "float16")


@keras.saving.register_keras_serializable("cephray")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation with one kernel of TensorFlow's in each direction during training.

    Keras composes it of a dozen operations, each of which reads or writes a whole feature map. In
    half precision the kernel keeps statistics, scale and offset in float32, as Keras does.
    Arguments are those of `keras.layers.BatchNormalization`.

    Input shape:
        [b, H, W, C]; the last axis is normalised, with scale and offset.
    """

    def call(self, inputs: Tensor, training: bool | None = None, mask: None = None) -> Tensor:
        """Normalise, and move the averages in training."""
        if not training or not self.trainable or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.cast(self.gamma, tf.float32),
            offset=tf.cast(self.beta, tf.float32),
            mean=tf.zeros((0,)),
            variance=tf.zeros((0,)),
            epsilon=self.epsilon,
        )
        # The kernel divides by one less than the count; Keras, and what it normalises by, do not.
        count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        variance = variance * ((count - 1.0) / count)
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + value * (1.0 - self.momentum))
        return normalised


@keras.saving.register_keras_serializable("cephray")
class ReplicaBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation with the statistics of the films of all replicas.

    Keras's `synchronized` sends five messages for each layer and step, three of them in the
    forward pass, and counts by summing ones. This layer sends one message in each pass. Arguments
    are those of `keras.layers.BatchNormalization`.

    Input shape:
        [b, ..., C]; the last axis is normalised, with scale and offset.
    """

    def call(self, inputs: Tensor, training: bool | None = None, mask: None = None) -> Tensor:
        """Normalise, and move the averages in training."""
        if not training or not self.trainable:
            return super().call(inputs, training=training, mask=mask)
        if mask is not None:
            raise NotImplementedError("batch normalisation over replicas takes no mask")
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        inputs = ops.cast(inputs, dtype)
        mean, variance = _moments_over_replicas(inputs)
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(ops.cast(average, dtype) * self.momentum + value * (1 - self.momentum))
        normalised = ops.batch_normalization(
            inputs,
            mean,
            variance,
            axis=-1,
            offset=ops.cast(self.beta, dtype),
            scale=ops.cast(self.gamma, dtype),
            epsilon=self.epsilon,
        )
        return ops.cast(normalised, self.compute_dtype)


def fused_batch_norm(layer: keras.layers.Layer) -> keras.layers.Layer | None:
    """Return a `FusedBatchNormalization` for a layer that it can replace, otherwise None."""
    if not _is_plain(layer) or layer.compute_dtype not in _DTYPES or len(layer.input.shape) != 4:
        return None
    return FusedBatchNormalization.from_config(layer.get_config())


def replica_batch_norm(layer: keras.layers.Layer) -> keras.layers.Layer | None:
    """Return a `ReplicaBatchNormalization` for a batch normalisation, otherwise None.

    Raises:
        NotImplementedError: the layer normalises another axis than the last, or lacks scale or
            offset.
    """
    if not isinstance(layer, keras.layers.BatchNormalization):
        return None
    if not _is_plain(layer):
        raise NotImplementedError(
            f"layer {layer.name!r}: only the last axis, with scale and offset, can be normalised "
            "over replicas"
        )
    return ReplicaBatchNormalization.from_config(layer.get_config())


def _is_plain(layer: keras.layers.Layer) -> bool:
    """Return whether a layer is a batch normalisation of the last axis with scale and offset."""
    return (
        isinstance(layer, keras.layers.BatchNormalization)
        and layer.axis in (-1, len(layer.input.shape) - 1)
        and layer.scale
        and layer.center
        and not layer.renorm
    )


def _moments_over_replicas(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance [C] of inputs [b, ..., C] on all replicas together."""
    channels = inputs.shape[-1]
    axes = list(range(inputs.shape.rank - 1))
    count = tf.cast(tf.size(inputs) // channels, inputs.dtype)
    mine = tf.concat(
        [tf.reduce_sum(inputs, axes), tf.reduce_sum(tf.square(inputs), axes), count[None]], 0
    )
    total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, mine)
    mean = total[:channels] / total[-1]
    variance = tf.maximum(total[channels:-1] / total[-1] - tf.square(mean), 0.0)
    return mean, variance
