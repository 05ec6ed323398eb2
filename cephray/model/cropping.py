"""Windows around the first estimates, cut out of every pyramid level.

It joins `geometry.windows` and `ops.roi_crop`; it has no weights and knows no heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from cephray import geometry
from cephray.ops import roi_crop, roi_crop_keras

Tensor = Any


@keras.saving.register_keras_serializable("cephray")
class WindowCrop(layers.Layer):
    """Crops a window around each landmark out of each level, all resampled to one size.

    Args:
        strides: stride of each level, finest first.
        window_cells: side of the window on each level, cells of its own grid, finest first.
        image_size: (H, W) of the network's input, pixels.
        crop_size: S, samples along each side of a crop.
        differentiable: let the gradient pass through the position of the windows.
        portable: compose the crop of Keras operations, for a place without the custom op.

    Input shape:
        L levels [B, H_l, W_l, C_l], finest first, and points [B, K, 2], normalised.

    Output shape:
        [B, K, S, S, ΣC_l]
    """

    def __init__(
        self,
        strides: Sequence[int],
        window_cells: Sequence[int],
        image_size: tuple[int, int],
        crop_size: int,
        differentiable: bool = False,
        portable: bool = False,
        **options: Any,
    ) -> None:
        # Autocasting would round the points to the features' type.
        super().__init__(**{"autocast": False, **options})
        self.strides = tuple(strides)
        height, width = image_size
        self.image_size = (height, width)
        self.crop_size = crop_size
        self.differentiable = differentiable
        self.portable = portable
        self.window_cells = tuple(window_cells)

    @property
    def smallest_window(self) -> float:
        """Side of the smallest window, image pixels."""
        return min(s * c for s, c in zip(self.strides, self.window_cells, strict=True))

    def call(self, levels: Sequence[Tensor], points: Tensor) -> Tensor:
        """Crop [B, K, S, S, ΣC_l] around points [B, K, 2]."""
        if not self.differentiable:
            points = ops.stop_gradient(points)
        boxes = geometry.windows(
            points,
            level_sizes=[(level.shape[1], level.shape[2]) for level in levels],
            strides=self.strides,
            image_size=self.image_size,
            window_cells=self.window_cells,
        )  # [B, K, L, 4]
        if self.portable:
            return roi_crop_keras(levels, boxes, (self.crop_size, self.crop_size))
        return roi_crop(levels, boxes, self.crop_size)

    def compute_output_spec(self, levels: Sequence[Tensor], points: Tensor) -> keras.KerasTensor:
        """Return the shape and type of the crops."""
        channels = sum(level.shape[-1] for level in levels)
        shape = (*points.shape[:2], self.crop_size, self.crop_size, channels)
        return keras.KerasTensor(shape, dtype=levels[0].dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            **super().get_config(),
            "strides": self.strides,
            "window_cells": self.window_cells,
            "image_size": self.image_size,
            "crop_size": self.crop_size,
            "differentiable": self.differentiable,
            "portable": self.portable,
        }
