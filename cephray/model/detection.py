"""Landmark detection module: all landmarks at once, from the coarsest features.

It knows the last feature map of the backbone, and neither the pyramid nor the refinement.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from cephray.model.precision import coordinate_dtype

Tensor = Any


@keras.saving.register_keras_serializable("cephray")
class LandmarkDetection(layers.Layer):
    """Regresses normalised coordinates: flatten, then one linear layer without bias.

    coarse = prior + scale × linear(features). The paper (Khalid et al. 2024) has no prior and
    scale 1. A prior, such as the mean shape of the training films, is a weight that is not
    trained; it is saved with the others.

    Args:
        num_landmarks: K.
        channels: filters of a 1 × 1 convolution with ReLU before the linear layer. If None,
            there is no convolution.
        scale: factor on the output of the linear layer; less than 1 keeps the first steps small.

    Input shape:
        [B, H, W, C]

    Output shape:
        [B, K, 2], normalised (x, y), of `coordinate_dtype`.
    """

    def __init__(
        self,
        num_landmarks: int,
        channels: int | None = None,
        scale: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(**{"dtype": coordinate_dtype(), **options})
        dtype = self.dtype_policy
        self.num_landmarks = num_landmarks
        self.channels = channels
        self.scale = scale
        self.reduce = None
        if channels is not None:
            self.reduce = layers.Conv2D(channels, 1, activation="relu", dtype=dtype, name="reduce")
        self.flatten = layers.Flatten(dtype=dtype)
        self.linear = layers.Dense(2 * num_landmarks, use_bias=False, dtype=dtype, name="linear")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights."""
        self.prior = self.add_weight(
            shape=(self.num_landmarks, 2), initializer="zeros", trainable=False, name="prior"
        )
        _, height, width, channels = input_shape
        if self.reduce is not None:
            self.reduce.build(input_shape)
            channels = self.reduce.filters
        self.linear.build((None, height * width * channels))  # type: ignore[operator]

    def call(self, features: Tensor) -> Tensor:
        """Regress [B, K, 2] from features [B, H, W, C]."""
        x = features if self.reduce is None else self.reduce(features)
        x = self.linear(self.flatten(x))
        return self.prior + self.scale * ops.reshape(x, (-1, self.num_landmarks, 2))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            **super().get_config(),
            "num_landmarks": self.num_landmarks,
            "channels": self.channels,
            "scale": self.scale,
        }
