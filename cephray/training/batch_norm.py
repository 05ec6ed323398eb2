"""Batch normalisation of the films of one replica in one kernel, and of the films of all replicas.

Both are Keras's layer with another computation in training. It knows layers, and no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from cephray.training.exchange import sum_at_once

Tensor = Any

# The types that TensorFlow's kernel takes.
_DTYPES = ("float32", "bfloat16", "float16")

# The weight of this replica's films in the statistics of all; None is 1.
_WEIGHT: ContextVar[Tensor | None] = ContextVar("weight", default=None)


@contextmanager
def weigh_statistics(weight: Tensor) -> Iterator[None]:
    """Trace layers so that this replica's films count in the statistics of all, or do not.

    With a weight of 0 the films change neither the statistics nor, through them, a gradient. Their
    own gradient must be zero.

    Args:
        weight: scalar, 1 or 0, of this replica.
    """
    token = _WEIGHT.set(weight)
    try:
        yield
    finally:
        _WEIGHT.reset(token)


@keras.saving.register_keras_serializable("cephray")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation with one kernel of TensorFlow's in each direction during training.

    Keras composes it of a dozen operations, each of which reads or writes a whole feature map. In
    half precision the kernel keeps statistics, scale and offset in float32, as Keras does. The
    same kernel moves the averages. Arguments are those of `keras.layers.BatchNormalization`.

    Input shape:
        [b, H, W, C]; the last axis is normalised, with scale and offset.
    """

    def call(self, inputs: Tensor, training: bool | None = None, mask: None = None) -> Tensor:
        """Normalise, and move the averages in training."""
        if not training or not self.trainable or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        # The kernel moves averages as Keras does, but of variances that are divided by one less
        # than the number of values.
        count = _count(inputs)
        correction = count / tf.maximum(count - 1.0, 1.0)
        normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.cast(self.gamma, tf.float32),
            offset=tf.cast(self.beta, tf.float32),
            mean=tf.cast(self.moving_mean, tf.float32),
            variance=tf.cast(self.moving_variance, tf.float32) * correction,
            epsilon=self.epsilon,
            exponential_avg_factor=1 - self.momentum,
        )
        self.moving_mean.assign(mean)
        self.moving_variance.assign(variance / correction)
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
        if inputs.dtype.name in _DTYPES and len(inputs.shape) == 4:
            scale, offset = (tf.cast(x, tf.float32) for x in (self.gamma, self.beta))
            normalised, mean, variance = normalise_over_replicas(
                inputs, scale, offset, self.epsilon
            )
            _move_averages(self, mean, variance)
            return normalised
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        inputs = ops.cast(inputs, dtype)
        mean, variance = _moments_over_replicas(inputs)
        _move_averages(self, mean, variance)
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
    fused = tf.raw_ops.FusedBatchNormV3
    _, mean, variance, mine = _normalise(inputs, scale, offset, epsilon)
    mean, variance, count = _moments_of_all(mine * mean, mine * (variance + tf.square(mean)), mine)
    deviation = tf.sqrt(variance + epsilon)
    weight = _weight(tf.float32)

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
                reserve_space_3=tf.zeros((0,)),
                **statistics,
            )
            both = sum_at_once(tf.concat([to_scale, to_offset], 0))
            of_scale, of_offset = tf.split(both, 2)
            factor = weight * scale / (deviation * count)
            slope, constant = factor * of_scale, factor * of_offset
            through, *_ = fused(
                x=x, scale=slope, offset=constant, mean=mean, variance=variance, **statistics
            )
            return direct - through, to_scale, to_offset

        return normalised, gradient

    return normalise(inputs, scale, offset), mean, variance


def _normalise(
    inputs: Tensor, scale: Tensor, offset: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalise by the statistics of this replica: return that, mean, variance [C] and count."""
    none = tf.zeros((0,))
    normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=scale, offset=offset, mean=none, variance=none, epsilon=epsilon
    )
    # The kernel divides by one less than the count; Keras, and what it normalises by, do not.
    count = _count(inputs)
    return normalised, mean, variance * ((count - 1.0) / count), count


def _count(inputs: Tensor) -> Tensor:
    """Return the number of values of a channel of [b, H, W, C]."""
    return tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)


def _move_averages(layer: keras.layers.BatchNormalization, mean: Tensor, variance: Tensor) -> None:
    for average, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        before = ops.cast(average, value.dtype)
        average.assign(before + (value - before) * (1 - layer.momentum))


def _weight(dtype: Any) -> Tensor:
    """Return the weight of this replica's films in the statistics of all."""
    weight = _WEIGHT.get()
    return tf.ones((), dtype) if weight is None else tf.cast(weight, dtype)


def _moments_over_replicas(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance [C] of inputs [b, ..., C] on all replicas together."""
    channels = inputs.shape[-1]
    axes = list(range(inputs.shape.rank - 1))
    count = tf.cast(tf.size(inputs) // channels, inputs.dtype)
    mean, variance, _ = _moments_of_all(
        tf.reduce_sum(inputs, axes), tf.reduce_sum(tf.square(inputs), axes), count
    )
    return mean, variance


def _moments_of_all(total: Tensor, squares: Tensor, count: Tensor) -> tuple[Tensor, ...]:
    """Return mean, variance [C] and count [1] over all replicas, from this one's; one message.

    Args:
        total: sum of the values, [C].
        squares: sum of their squares, [C].
        count: number of values of a channel.
    """
    channels = total.shape[0]
    mine = tf.concat([total, squares, tf.reshape(count, (1,))], 0)
    sums = sum_at_once(mine * _weight(mine.dtype))
    total, squares, count = tf.split(sums, [channels, channels, 1])
    mean = total / count
    variance = tf.maximum(squares / count - tf.square(mean), 0.0)
    return mean, variance, count
