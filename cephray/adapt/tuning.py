"""The change of the dense layers of each head, fitted to marks by gradient descent.

Few and small steps change little. Of the change of the hidden layer's kernel, the part of low rank
is kept, which is small in a checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cephray.adapt.frozen import DenseLayers, HiddenLayer, LastLayer, Windows

FloatArray = NDArray[np.floating[Any]]

_BATCH = 32  # windows of a step
_EPOCHS = 5
_MOST_STEPS = 500
_LEARNING_RATE = 3e-4
_SMOOTH = 1e-4  # added to squared distances, so that the gradient has no jump at 0


@dataclass(frozen=True, eq=False)
class HiddenChange:
    """A change of the hidden layer of the heads.

    Args:
        narrow: [K, I, R].
        wide: [K, R, U]; the product of both is added to the kernel.
        bias: [K, U], added to the bias.
    """

    narrow: FloatArray
    wide: FloatArray
    bias: FloatArray

    def applied(self, layer: HiddenLayer) -> HiddenLayer:
        """Return the changed layer."""
        return HiddenLayer(layer.kernel + self.narrow @ self.wide, layer.bias + self.bias)


def tune_layers(
    windows: Sequence[Windows], layers: DenseLayers, rank: int, seed: int
) -> tuple[HiddenChange, LastLayer]:
    """Fit a change of the hidden layer, and the last layer with it.

    The mean distance to the marks is made smaller. Outputs of the last layer other than the first
    two stay as they are.

    Args:
        windows: of the films to fit to.
        layers: to begin with.
        rank: of the change of the hidden layer's kernel.
        seed: of the order of the windows.

    Returns:
        The change of the hidden layer, and the last layer.
    """
    rng = np.random.default_rng(seed)
    features = np.concatenate([one.features for one in windows]).transpose(1, 0, 2)  # [K, M, I]
    distances = np.concatenate([one.distances for one in windows]).transpose(1, 0, 2)
    known = np.isfinite(distances).all(axis=-1).astype(np.float32)  # [K, M]
    heads, count, _ = features.shape
    hidden_kernel = tf.Variable(layers.hidden.kernel, dtype=tf.float32)
    hidden_bias = tf.Variable(layers.hidden.bias, dtype=tf.float32)
    kernel = tf.Variable(layers.last.kernel[..., :2], dtype=tf.float32)
    bias = tf.Variable(layers.last.bias[..., :2], dtype=tf.float32)
    variables = [hidden_kernel, hidden_bias, kernel, bias]
    data = tf.constant(features), tf.constant(np.nan_to_num(distances)), tf.constant(known)
    batches = -(-count // _BATCH)
    steps = min(_EPOCHS * batches, _MOST_STEPS)
    optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, steps)
    )
    optimizer.build(variables)

    @tf.function(reduce_retracing=True)
    def step(chosen: tf.Tensor) -> None:
        x, wanted, weight = (tf.gather(one, chosen, axis=1) for one in data)
        x = tf.cast(x, tf.float32)
        with tf.GradientTape() as tape:
            hidden = tf.nn.relu(tf.matmul(x, hidden_kernel) + hidden_bias[:, None])
            error = tf.matmul(hidden, kernel) + bias[:, None] - wanted
            distance = tf.sqrt(tf.reduce_sum(error**2, axis=-1) + _SMOOTH)
            loss = tf.reduce_sum(distance * weight) / tf.maximum(tf.reduce_sum(weight), 1.0)
            loss *= float(heads)  # each head learns as if it were alone
        optimizer.apply(tape.gradient(loss, variables), variables)

    for number in range(steps):
        at = number % batches
        if at == 0:
            order = rng.permutation(count)
        step(tf.constant(order[at * _BATCH : (at + 1) * _BATCH]))
    last = LastLayer(layers.last.kernel.copy(), layers.last.bias.copy())
    last.kernel[..., :2], last.bias[..., :2] = kernel.numpy(), bias.numpy()
    left, sizes, right = np.linalg.svd(hidden_kernel.numpy() - layers.hidden.kernel, False)
    change = HiddenChange(
        left[..., :rank] * sizes[:, None, :rank],
        right[:, :rank],
        hidden_bias.numpy() - layers.hidden.bias,
    )
    return change, last
