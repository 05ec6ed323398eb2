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


class Heads(layers.Layer):
    """What the heads of all kinds share: the hidden dense layer, the last layer, their change.

    A change is added to these layers of each head, so that the network marks by another
    convention. The convention that it was trained on is kept beside it. The change of the hidden
    layer's kernel is the product of two narrow matrices, as in LoRA (Hu et al. 2022).

    Args:
        units: U, of the hidden dense layer.
        outputs: of each head: 2, or 3 where it estimates its spread too.
        adapted: whether the last layer has such a change. It is 0 at first.
        adapted_rank: rank R of the change of the hidden layer's kernel. If 0, there is none.
    """

    hidden_kernel: Any
    hidden_bias: Any

    def __init__(
        self,
        units: int,
        outputs: int = 2,
        adapted: bool = False,
        adapted_rank: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.units = units
        self.outputs = outputs
        self.adapted = adapted
        self.adapted_rank = adapted_rank
        self.kernel_change: Any = None
        self.bias_change: Any = None
        self.hidden_change: tuple[Any, ...] = ()

    def features(self, crops: Tensor) -> Tensor:
        """Return the inputs of the hidden layer, [K, B, I], from crops [B, K, S, S, C]."""
        raise NotImplementedError

    def hidden(self, features: Tensor) -> Tensor:
        """Return the inputs of the last layer, [K, B, U], from those of the hidden layer."""
        x = ops.matmul(features, self.hidden_kernel)
        bias = self.hidden_bias
        if self.adapted_rank:
            narrow, wide, bias_change = self.hidden_change
            x = x + ops.matmul(ops.matmul(features, narrow), wide)
            bias = bias + bias_change
        return ops.relu(x + bias[:, None])

    def build_change(self, heads: int, inputs: int) -> None:
        """Create the weights of the change, if there is one.

        Args:
            heads: K.
            inputs: I, of the hidden layer.
        """
        if self.adapted_rank:
            shapes = {
                "hidden_change_in": (heads, inputs, self.adapted_rank),
                "hidden_change_out": (heads, self.adapted_rank, self.units),
                "hidden_change_bias": (heads, self.units),
            }
            self.hidden_change = tuple(
                self.add_weight(shape=shape, initializer="zeros", name=name)
                for name, shape in shapes.items()
            )
        if not self.adapted:
            return
        self.kernel_change = self.add_weight(
            shape=(heads, self.units, self.outputs), initializer="zeros", name="kernel_change"
        )
        self.bias_change = self.add_weight(
            shape=(heads, self.outputs), initializer="zeros", name="bias_change"
        )

    def discard_change(self) -> None:
        """Set the change to 0, so that the network marks as it did before it was adapted."""
        for variable in (self.kernel_change, self.bias_change, *self.hidden_change):
            variable.assign(ops.zeros(variable.shape, variable.dtype))

    def last(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        """Apply the last layer, with its change, to [K, B, U]. Returns [B, K, outputs]."""
        if self.adapted:
            kernel = kernel + self.kernel_change
            bias = self.bias_change if bias is None else bias + self.bias_change
        x = ops.matmul(x, kernel)
        if bias is not None:
            x = x + bias[:, None]
        return ops.cast(ops.transpose(x, (1, 0, 2)), self.variable_dtype)

    def compute_output_spec(
        self, crops: Tensor, training: bool | None = None
    ) -> keras.KerasTensor:
        """Return the shape and type of the offsets."""
        return keras.KerasTensor((*crops.shape[:2], self.outputs), dtype=self.variable_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "outputs": self.outputs,
            "adapted": self.adapted,
            "adapted_rank": self.adapted_rank,
        }


@keras.saving.register_keras_serializable("cephray")
class RefinementHeads(Heads):
    """Regresses one offset per landmark with a head of its own (Khalid et al. 2024).

    A head is a 3 × 3 convolution with ReLU, a dense layer with ReLU, and a linear layer without
    bias. The K heads are K slices of each weight, and each layer is one batched matrix product:
    the convolution multiplies each cell's neighbourhood, nine cells side by side.

    Args:
        channels: filters of the convolution.
        units: of the hidden dense layer.
        outputs, adapted, adapted_rank: as in `Heads`.

    Input shape:
        [B, K, S, S, C]

    Output shape:
        [B, K, outputs], of `coordinate_dtype`.
    """

    def __init__(
        self,
        channels: int,
        units: int,
        outputs: int = 2,
        adapted: bool = False,
        adapted_rank: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(units, outputs, adapted, adapted_rank, **options)
        self.channels = channels

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
        self.build_change(heads, side * side * self.channels)

    def call(self, crops: Tensor) -> Tensor:
        """Regress offsets [B, K, outputs] from crops [B, K, S, S, C]."""
        return self.last(self.hidden(self.features(crops)), self.output_kernel, None)

    def features(self, crops: Tensor) -> Tensor:
        """Return the inputs of the hidden layer, [K, B, S·S·channels]; see `Heads`."""
        _, heads, side, _, channels = crops.shape
        x = ops.reshape(crops, (-1, heads, side * side, channels))
        x = ops.matmul(ops.cast(_neighbours(side), x.dtype), x)  # [B, K, S·S·9, C]
        x = ops.reshape(x, (-1, heads, side * side, 9 * channels))
        x = ops.transpose(x, (1, 0, 2, 3))
        x = ops.reshape(x, (heads, -1, 9 * channels))  # [K, B·S·S, 9C]
        kernel = ops.reshape(self.conv_kernel, (heads, 9 * channels, self.channels))
        x = ops.relu(ops.matmul(x, kernel) + self.conv_bias[:, None])
        return ops.reshape(x, (heads, -1, side * side * self.channels))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "channels": self.channels}


@keras.saving.register_keras_serializable("cephray")
class DenseHeads(Heads):
    """Regresses one offset per landmark with a small head of its own.

    A 1 × 1 convolution with ReLU, the same for all landmarks, leaves few channels; a head is a
    dense layer with ReLU over all cells of its crop, and a linear layer. It has a fraction of the
    weights of the paper's head, most of which a hundred films cannot teach.

    Args:
        channels: that the shared convolution leaves.
        units: of the hidden dense layer.
        outputs, adapted, adapted_rank: as in `Heads`.
        dropout: share of the dense layers' inputs left out in training.

    Input shape:
        [B, K, S, S, C]

    Output shape:
        [B, K, outputs], of `coordinate_dtype`.
    """

    def __init__(
        self,
        channels: int,
        units: int,
        outputs: int = 2,
        dropout: float = 0.0,
        adapted: bool = False,
        adapted_rank: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(units, outputs, adapted, adapted_rank, **options)
        self.channels = channels
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
        self.build_change(heads, side * side * self.channels)

    def call(self, crops: Tensor, training: bool | None = None) -> Tensor:
        """Regress offsets [B, K, outputs] from crops [B, K, S, S, C]."""
        features = self._drop(self.features(crops), training)
        hidden = self._drop(self.hidden(features), training)
        return self.last(hidden, self.output_kernel, self.output_bias)

    def features(self, crops: Tensor) -> Tensor:
        """Return the inputs of the hidden layer, [K, B, S·S·channels]; see `Heads`."""
        _, heads, side, _, _ = crops.shape
        x = self.reduce(crops)
        x = ops.reshape(x, (-1, heads, side * side * self.channels))
        return ops.transpose(x, (1, 0, 2))

    def _drop(self, x: Tensor, training: bool | None) -> Tensor:
        if not training or not self.dropout:
            return x
        return keras.random.dropout(x, self.dropout, seed=self.chance)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            **super().get_config(),
            "channels": self.channels,
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
