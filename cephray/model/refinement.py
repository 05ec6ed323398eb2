"""Landmark refinement module: one head per landmark, all heads in one batched computation.

It knows crops and offsets, and not where the crops came from.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import initializers, layers, ops

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
    the convolution multiplies the nine shifted copies of its input.

    Args:
        channels: filters of the convolution.
        units: of the hidden dense layer.

    Input shape:
        [B, K, S, S, C]

    Output shape:
        [B, K, 2], float32.
    """

    def __init__(self, channels: int, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.channels = channels
        self.units = units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights."""
        _, heads, side, _, channels = input_shape
        assert heads is not None
        assert side is not None
        shapes = {
            "conv_kernel": (heads, 3, 3, channels, self.channels),
            "hidden_kernel": (heads, side * side * self.channels, self.units),
            "output_kernel": (heads, self.units, 2),
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
        """Regress offsets [B, K, 2] from crops [B, K, S, S, C]."""
        _, heads, side, _, channels = crops.shape
        padded = ops.pad(crops, [[0, 0], [0, 0], [1, 1], [1, 1], [0, 0]])
        shifted = [
            padded[:, :, row : row + side, column : column + side]
            for row in range(3)
            for column in range(3)
        ]
        x = ops.concatenate(shifted, axis=-1)  # [B, K, S, S, 9C]
        x = ops.transpose(x, (1, 0, 2, 3, 4))
        x = ops.reshape(x, (heads, -1, 9 * channels))  # [K, B·S·S, 9C]
        kernel = ops.reshape(self.conv_kernel, (heads, 9 * channels, self.channels))
        x = ops.relu(ops.matmul(x, kernel) + self.conv_bias[:, None])
        x = ops.reshape(x, (heads, -1, side * side * self.channels))  # [K, B, S·S·channels]
        x = ops.relu(ops.matmul(x, self.hidden_kernel) + self.hidden_bias[:, None])
        x = ops.matmul(x, self.output_kernel)  # [K, B, 2]
        return ops.cast(ops.transpose(x, (1, 0, 2)), "float32")

    def compute_output_spec(self, crops: Tensor) -> keras.KerasTensor:
        """Return the shape and type of the offsets."""
        return keras.KerasTensor((*crops.shape[:2], 2), dtype="float32")
