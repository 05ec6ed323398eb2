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
    forward pass, and counts by summing ones. This layer sends one message in each pass. Feature
    maps of a type that TensorFlow's kernel takes are normalised by it. Arguments are those of
    `keras.layers.BatchNormalization`.

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
        if inputs.dtype.name in _DTYPES and len(inputs.shape) == 4:
            scale, offset = (tf.cast(x, tf.float32) for x in (self.gamma, self.beta))
            normalised, mean, variance = normalise_over_replicas(
                inputs, scale, offset, self.epsilon
            )
            self._move_averages(mean, variance, dtype)
            return normalised
        inputs = ops.cast(inputs, dtype)
        mean, variance = _moments_over_replicas(inputs)
        self._move_averages(mean, variance, dtype)
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

    def _move_averages(self, mean: Tensor, variance: Tensor, dtype: str) -> None:
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(ops.cast(average, dtype) * self.momentum + value * (1 - self.momentum))


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


def normalise_over_replicas(
    inputs: Tensor, scale: Tensor, offset: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise by the statistics of all replicas, with TensorFlow's kernels.

    The gradient is that of Ioffe & Szegedy (2015) with sums over all replicas.

    Args:
        inputs: [b, H, W, C], float32, bfloat16 or float16.
        scale: float32 [C].
        offset: float32 [C].
        epsilon: added to the variance.

    Returns:
        The normalised inputs, and mean and variance, float32 [C].
    """
    fused, none = tf.raw_ops.FusedBatchNormV3, tf.zeros((0,))
    _, mean, variance, *_ = fused(x=inputs, scale=scale, offset=offset, mean=none, variance=none)
    mine = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
    variance = variance * ((mine - 1.0) / mine)  # the kernel divides by one less
    sums = _sum_over_replicas(
        tf.concat([mine * mean, mine * (variance + tf.square(mean)), mine[None]], 0)
    )
    count, channels = sums[-1], inputs.shape[-1]
    mean = sums[:channels] / count
    variance = tf.maximum(sums[channels:-1] / count - tf.square(mean), 0.0)
    deviation = tf.sqrt(variance + epsilon)

    @tf.custom_gradient
    def normalise(x: Tensor, scale: Tensor, offset: Tensor) -> tuple[Tensor, Any]:
        statistics = {"epsilon": epsilon, "is_training": False}
        normalised, *_ = fused(
            x=x, scale=scale, offset=offset, mean=mean, variance=variance, **statistics
        )

        def gradient(upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            # As if mean and variance were constants, and then what comes through them: the part
            # of the gradient that is constant, or proportional to the normalised input.
            direct, to_scale, to_offset, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=upstream,
                x=x,
                scale=scale,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=none,
                **statistics,
            )
            totals = _sum_over_replicas(tf.concat([to_scale, to_offset], 0)) / count
            slope = scale / deviation * totals[:channels]
            constant = scale / deviation * totals[channels:]
            through, *_ = fused(
                x=x, scale=slope, offset=constant, mean=mean, variance=variance, **statistics
            )
            return direct - through, to_scale, to_offset

        return normalised, gradient

    return normalise(inputs, scale, offset), mean, variance


def _sum_over_replicas(value: Tensor) -> Tensor:
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def _moments_over_replicas(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance [C] of inputs [b, ..., C] on all replicas together."""
    channels = inputs.shape[-1]
    axes = list(range(inputs.shape.rank - 1))
    count = tf.cast(tf.size(inputs) // channels, inputs.dtype)
    mine = tf.concat(
        [tf.reduce_sum(inputs, axes), tf.reduce_sum(tf.square(inputs), axes), count[None]], 0
    )
    total = _sum_over_replicas(mine)
    mean = total[:channels] / total[-1]
    variance = tf.maximum(total[channels:-1] / total[-1] - tf.square(mean), 0.0)
    return mean, variance
