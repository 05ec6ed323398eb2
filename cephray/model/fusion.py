"""Semantic fusion block: coarse features are added to finer ones, from the top down.

It knows the pyramid, and neither landmarks nor windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

Tensor = Any


@keras.saving.register_keras_serializable("cephray")
class Upsample(layers.Layer):
    """Doubles both sides of a feature map by `upsample_to`.

    Args:
        height: of the result.
        width: of the result.

    Input shape:
        [B, h, w, C]

    Output shape:
        [B, height, width, C]
    """

    def __init__(self, height: int, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.height = height
        self.width = width

    def call(self, x: Tensor) -> Tensor:
        """Return the larger feature map."""
        return upsample_to(x, self.height, self.width)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            **super().get_config(),
            "height": self.height,
            "width": self.width,
        }


def upsample_to(x: Tensor, height: int, width: int) -> Tensor:
    """Double both sides by repetition, then cut or repeat the last row and column to fit.

    A side that the stride does not divide is rounded, so that twice the coarse side may miss the
    fine one by a cell.

    Args:
        x: [B, h, w, C].
        height: wanted, within a cell of 2 h.
        width: wanted, within a cell of 2 w.

    Returns:
        [B, height, width, C]
    """
    for axis, size in ((1, height), (2, width)):
        x = ops.repeat(x, 2, axis=axis)
        if x.shape[axis] < size:
            last = x[:, -1:] if axis == 1 else x[:, :, -1:]
            x = ops.concatenate([x, last], axis=axis)
    return x[:, :height, :width]


def fuse(pyramid: Sequence[Tensor], channels: int) -> list[Tensor]:
    """Fuse pyramid levels from the top down (Khalid et al. 2024, semantic fusion block).

    Each level passes a 1 × 1 convolution; the sum of it and the upsampled level above passes a
    3 × 3 convolution and batch normalisation.

    Args:
        pyramid: L levels [B, H_l, W_l, C_l], finest first; sizes halve from one to the next.
        channels: of every fused level.

    Returns:
        L levels [B, H_l, W_l, channels], finest first.
    """
    fused: list[Tensor] = []
    above: Tensor | None = None
    for index in reversed(range(len(pyramid))):
        name = f"fusion_{len(pyramid) - index}"
        level = pyramid[index]
        x = layers.Conv2D(channels, 1, activation="relu", name=f"{name}_lateral")(level)
        if above is not None:
            above = Upsample(level.shape[1], level.shape[2], name=f"{name}_upsample")(above)
            x = layers.Add(name=f"{name}_add")([x, above])
        above = x
        x = layers.Conv2D(channels, 3, padding="same", activation="relu", name=f"{name}_smooth")(x)
        fused.append(layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn")(x))
    return fused[::-1]
