"""The change of the dense layers of each head, fitted to marks by gradient descent.

Few and small steps change little. Of the change of the hidden layer's kernel, the part of low rank
is kept, which is small in a checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cephray.adapt.frozen import DenseLayer, DenseLayers, HiddenChange, Windows

FloatArray = NDArray[np.floating[Any]]

_BATCH = 32  # windows of a step
_EPOCHS = 5
_MOST_STEPS = 500
_LEARNING_RATE = 3e-4
_SMOOTH = 1e-4  # added to squared distances, so that the gradient has no jump at 0


class Tuner:
    """Fits the dense layers of heads, any number of times.

    Its variables and its training step are made once, for a step that is made for each fit would
    keep the memory of all of them.

    Args:
        layers: dense layers of the shapes that are fitted.
    """

    def __init__(self, layers: DenseLayers) -> None:
        self._variables = [tf.Variable(value) for value in _values(layers)]
        self._optimizer = keras.optimizers.Adam(_LEARNING_RATE)
        self._optimizer.build(self._variables)
        self._step = tf.function(self._take_step, reduce_retracing=True)

    def fit(
        self, windows: Sequence[Windows], layers: DenseLayers, rank: int, seed: int
    ) -> tuple[HiddenChange, DenseLayer]:
        """Fit a change of the hidden layer, and the last layer with it.

        The mean distance to the marks is made smaller. Outputs of the last layer other than the
        first two stay as they are.

        Args:
            windows: of the films to fit to.
            layers: to begin with.
            rank: of the change of the hidden layer's kernel.
            seed: of the order of the windows.

        Returns:
            The change of the hidden layer, and the last layer.
        """
        for variable, value in zip(self._variables, _values(layers), strict=True):
            variable.assign(value)
        for variable in self._optimizer.variables:
            variable.assign(np.zeros(variable.shape))
        rng = np.random.default_rng(seed)
        features = np.concatenate([one.features for one in windows])  # [M, K, I]
        distances = np.concatenate([one.distances for one in windows])
        batches = -(-len(features) // _BATCH)
        steps = min(_EPOCHS * batches, _MOST_STEPS)
        for number in range(steps):
            at = number % batches
            if at == 0:
                order = rng.permutation(len(features))
            chosen = order[at * _BATCH : (at + 1) * _BATCH]
            falling = 0.5 * (1 + np.cos(np.pi * number / steps))
            self._optimizer.learning_rate.assign(_LEARNING_RATE * falling)
            self._step(
                tf.constant(features[chosen].transpose(1, 0, 2), tf.float32),
                tf.constant(distances[chosen].transpose(1, 0, 2), tf.float32),
            )
        hidden_kernel, hidden_bias, kernel, bias = (one.numpy() for one in self._variables)
        last = DenseLayer(layers.last.kernel.copy(), layers.last.bias.copy())
        last.kernel[..., :2], last.bias[..., :2] = kernel, bias
        left, sizes, right = np.linalg.svd(hidden_kernel - layers.hidden.kernel, False)
        change = HiddenChange(
            left[..., :rank] * sizes[:, None, :rank],
            right[:, :rank],
            hidden_bias - layers.hidden.bias,
        )
        return change, last

    def _take_step(self, features: tf.Tensor, wanted: tf.Tensor) -> None:
        """Take a step of the optimiser, for [K, M, I] and [K, M, 2]."""
        hidden_kernel, hidden_bias, kernel, bias = self._variables
        known = tf.reduce_all(tf.math.is_finite(wanted), axis=-1)
        weight = tf.cast(known, tf.float32)
        wanted = tf.where(known[..., None], wanted, 0.0)
        with tf.GradientTape() as tape:
            hidden = tf.nn.relu(tf.matmul(features, hidden_kernel) + hidden_bias[:, None])
            error = tf.matmul(hidden, kernel) + bias[:, None] - wanted
            distance = tf.sqrt(tf.reduce_sum(error**2, axis=-1) + _SMOOTH)
            loss = tf.reduce_sum(distance * weight) / tf.maximum(tf.reduce_sum(weight), 1.0)
            loss *= float(kernel.shape[0])  # each head learns as if it were alone
        self._optimizer.apply(tape.gradient(loss, self._variables), self._variables)


def _values(layers: DenseLayers) -> list[NDArray[np.float32]]:
    """Return what is fitted: kernel and bias of both layers, of the last for two outputs."""
    hidden, last = layers.hidden, layers.last
    values = (hidden.kernel, hidden.bias, last.kernel[..., :2], last.bias[..., :2])
    return [np.asarray(value, np.float32) for value in values]
