"""Landmark detection module: all landmarks at once, from coarse features.

It knows feature maps and landmarks, and neither the backbone nor the refinement.
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


@keras.saving.register_keras_serializable("cephray")
class HeatmapDetection(layers.Layer):
    """Looks for landmarks near first estimates: the mean place of a heatmap's cells.

    A 1 × 1 convolution gives each cell a logit for each landmark, to which the logarithm of a
    Gaussian around the first estimate is added. The softmax over all cells weights their middles:
    integral regression (Sun et al. 2018). No gradient flows to the first estimate.

    Args:
        num_landmarks: K.
        window: standard deviation of the Gaussian, in heights of the film.
        aspect: width of the film over its height.

    Input shape:
        Features [B, h, w, C], and points [B, K, 2], normalised (x, y).

    Output shape:
        [B, K, 2], normalised (x, y), of `coordinate_dtype`.
    """

    def __init__(
        self,
        num_landmarks: int,
        window: float,
        aspect: float,
        **options: Any,
    ) -> None:
        super().__init__(**{"dtype": coordinate_dtype(), **options})
        self.num_landmarks = num_landmarks
        self.window = window
        self.aspect = aspect
        # Small at first: then the mean place is near the first estimate.
        small = keras.initializers.RandomNormal(stddev=0.01)
        self.logits = layers.Conv2D(
            num_landmarks, 1, kernel_initializer=small, dtype=self.dtype_policy, name="logits"
        )

    def build(
        self, features_shape: tuple[int | None, ...], points_shape: tuple[int | None, ...]
    ) -> None:
        """Create the weights."""
        self.logits.build(features_shape)

    def call(self, features: Tensor, points: Tensor) -> Tensor:
        """Find [B, K, 2] in features [B, h, w, C], near points [B, K, 2]."""
        height, width = features.shape[1:3]
        x, y = (
            (ops.arange(cells, dtype=self.compute_dtype) + 0.5) / cells
            for cells in (width, height)
        )
        points = ops.stop_gradient(points)
        across = ops.square((x - points[..., :1]) * (self.aspect / self.window))  # [B, K, w]
        down = ops.square((y - points[..., 1:]) / self.window)  # [B, K, h]
        logits = ops.transpose(self.logits(features), (0, 3, 1, 2))  # [B, K, h, w]
        logits = logits - 0.5 * (down[..., None] + across[:, :, None])
        flat = ops.reshape(logits, (-1, self.num_landmarks, height * width))
        weights = ops.reshape(ops.softmax(flat), ops.shape(logits))
        mean_x = ops.sum(ops.sum(weights, axis=2) * x, axis=-1)
        mean_y = ops.sum(ops.sum(weights, axis=3) * y, axis=-1)
        return ops.stack([mean_x, mean_y], axis=-1)

    def compute_output_spec(self, features: Tensor, points: Tensor) -> keras.KerasTensor:
        """Return the shape and type of the landmarks."""
        return keras.KerasTensor(points.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            **super().get_config(),
            "num_landmarks": self.num_landmarks,
            "window": self.window,
            "aspect": self.aspect,
        }
