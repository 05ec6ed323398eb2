"""Landmark refinement module: one head per landmark, all heads in one batched computation.

The heads of the paper, and cheaper ones. It knows crops and offsets, and not where the crops came
from.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import initializers, layers, ops
from numpy.typing import NDArray

Tensor = Any


@keras.saving.register_keras_serializable("cephray")
class PerHead(initializers.Initializer):
    """Draws each head's weights on their own, as separate layers would.

    Args:
        inner: name of the initialiser of one head; its fans are those of one head.
    """

    def __init__(self, inner: str = "glorot_uniform") -> None:
        self.inner = inner

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        """Draw [K, *shape of one head]."""
        initializer = initializers.get(self.inner)
        return ops.stack([initializer.clone()(shape[1:], dtype) for _ in range(shape[0])])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"inner": self.inner}


@keras.saving.register_keras_serializable("cephray")
class RefinementHeads(layers.Layer):
    """Regresses one offset per landmark with a head of its own (Khalid et al. 2024).

    A head is a 3 × 3 convolution with ReLU, a dense layer with ReLU, and a linear layer without
    bias. The K heads are K slices of each weight, and each layer is one batched matrix product:
    the convolution multiplies each cell's neighbourhood, nine cells side by side.

    Args:
        channels: filters of the convolution.
        units: of the hidden dense layer.
        outputs: of each head: 2, or 3 where it estimates its spread too.

    Input shape:
        [B, K, S, S, C]

    Output shape:
        [B, K, outputs], of `coordinate_dtype`.
    """

    def __init__(self, channels: int, units: int, outputs: int = 2, **options: Any) -> None:
        super().__init__(**options)
        self.channels = channels
        self.units = units
        self.outputs = outputs

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights."""
        _, heads, side, _, channels = input_shape
        assert heads is not None
        assert side is not None
        shapes = {
            "conv_kernel": (heads, 3, 3, channels, self.channels),
            "hidden_kernel": (heads, side * side * self.channels, self.units),
            "output_kernel": (heads, self.units, self.outputs),
        }
        for name, shape in shapes.items():
            setattr(self, name, self.add_weight(shape=shape, initializer=PerHead(), name=name))
        self.conv_bias = self.add_weight(
            shape=(heads, self.channels), initializer="zeros", name="conv_bias"
        )
        self.hidden_bias = self.add_weight(
            shape=(heads, self.units), initializer="zeros", name="hidden_bias"
        )

    def call(self, crops: Tensor) -> Tensor:
        """Regress offsets [B, K, outputs] from crops [B, K, S, S, C]."""
        _, heads, side, _, channels = crops.shape
        x = ops.reshape(crops, (-1, heads, side * side, channels))
        x = ops.matmul(ops.cast(_neighbours(side), x.dtype), x)  # [B, K, S·S·9, C]
        x = ops.reshape(x, (-1, heads, side * side, 9 * channels))
        x = ops.transpose(x, (1, 0, 2, 3))
        x = ops.reshape(x, (heads, -1, 9 * channels))  # [K, B·S·S, 9C]
        kernel = ops.reshape(self.conv_kernel, (heads, 9 * channels, self.channels))
        x = ops.relu(ops.matmul(x, kernel) + self.conv_bias[:, None])
        x = ops.reshape(x, (heads, -1, side * side * self.channels))  # [K, B, S·S·channels]
        x = ops.relu(ops.matmul(x, self.hidden_kernel) + self.hidden_bias[:, None])
        x = ops.matmul(x, self.output_kernel)  # [K, B, outputs]
        return ops.cast(ops.transpose(x, (1, 0, 2)), self.variable_dtype)

    def compute_output_spec(self, crops: Tensor) -> keras.KerasTensor:
        """Return the shape and type of the offsets."""
        return keras.KerasTensor((*crops.shape[:2], self.outputs), dtype=self.variable_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            **super().get_config(),
            "channels": self.channels,
            "units": self.units,
            "outputs": self.outputs,
        }


@keras.saving.register_keras_serializable("cephray")
class DenseHeads(layers.Layer):
    """Regresses one offset per landmark with a small head of its own.

    A 1 × 1 convolution with ReLU, the same for all landmarks, leaves few channels; a head is a
    dense layer with ReLU over all cells of its crop, and a linear layer. It has a fraction of the
    weights of the paper's head, most of which a hundred films cannot teach.

    Args:
        channels: that the shared convolution leaves.
        units: of the hidden dense layer.
        outputs: of each head: 2, or 3 where it estimates its spread too.
        dropout: share of the dense layers' inputs left out in training.

    Input shape:
        [B, K, S, S, C]

    Output shape:
        [B, K, outputs], of `coordinate_dtype`.
    """

    def __init__(
        self, channels: int, units: int, outputs: int = 2, dropout: float = 0.0, **options: Any
    ) -> None:
        super().__init__(**options)
        self.channels = channels
        self.units = units
        self.outputs = outputs
        self.reduce = layers.Dense(
            channels, activation="relu", dtype=self.dtype_policy, name="reduce"
        )
        self.dropout = dropout
        # Not Keras's layer: it numbers its generator, and checkpoints hold variables' names.
        self.chance = keras.random.SeedGenerator(name="chance")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights."""
        _, heads, side, _, channels = input_shape
        assert heads is not None
        assert side is not None
        self.reduce.build((None, channels))
        self.hidden_kernel = self.add_weight(
            shape=(heads, side * side * self.channels, self.units),
            initializer=PerHead(),
            name="hidden_kernel",
        )
        # The first offsets are 0: drawn ones would throw the windows of the next pass about.
        zeros = {
            "hidden_bias": (heads, self.units),
            "output_kernel": (heads, self.units, self.outputs),
            "output_bias": (heads, self.outputs),
        }
        for name, shape in zeros.items():
            setattr(self, name, self.add_weight(shape=shape, initializer="zeros", name=name))

    def call(self, crops: Tensor, training: bool | None = None) -> Tensor:
        """Regress offsets [B, K, outputs] from crops [B, K, S, S, C]."""
        _, heads, side, _, _ = crops.shape
        x = self.reduce(crops)
        x = ops.reshape(x, (-1, heads, side * side * self.channels))
        x = self._drop(ops.transpose(x, (1, 0, 2)), training)  # [K, B, S·S·c]
        x = ops.relu(ops.matmul(x, self.hidden_kernel) + self.hidden_bias[:, None])
        x = self._drop(x, training)
        x = ops.matmul(x, self.output_kernel) + self.output_bias[:, None]  # [K, B, outputs]
        return ops.cast(ops.transpose(x, (1, 0, 2)), self.variable_dtype)

    def _drop(self, x: Tensor, training: bool | None) -> Tensor:
        if not training or not self.dropout:
            return x
        return keras.random.dropout(x, self.dropout, seed=self.chance)

    def compute_output_spec(
        self, crops: Tensor, training: bool | None = None
    ) -> keras.KerasTensor:
        """Return the shape and type of the offsets."""
        return keras.KerasTensor((*crops.shape[:2], self.outputs), dtype=self.variable_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            **super().get_config(),
            "channels": self.channels,
            "units": self.units,
            "outputs": self.outputs,
            "dropout": self.dropout,
        }


def _neighbours(side: int) -> NDArray[np.float32]:
    """Return the matrix that picks, for each cell of a square, the nine around it, or zero.

    A product with it and its transpose is exact, and many times faster than slices and theirs.

    Args:
        side: S, cells.

    Returns:
        [S·S·9, S·S] of ones and zeros; rows are ordered by cell, then as a 3 × 3 kernel is.
    """
    rows, columns = np.divmod(np.arange(side * side), side)
    around = np.array([(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)])
    wanted = np.stack([rows, columns], -1)[:, None] + around  # [S·S, 9, 2]
    picks = (wanted[:, :, None] == np.stack([rows, columns], -1)).all(-1)
    matrix: NDArray[np.float32] = picks.reshape(-1, side * side).astype(np.float32)
    return matrix
