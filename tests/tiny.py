"""A backbone of four convolutions, for tests of what stands behind a backbone."""

from __future__ import annotations

from typing import Any

import pytest
from keras import layers

from cephray.model.backbones import BACKBONES


def tiny_backbone(image: Any, weights: Any) -> list[Any]:
    """Build a pyramid in a fraction of the time that a real backbone takes, and compiles in."""
    x, pyramid = image, []
    for level, (stride, channels) in enumerate(((4, 6), (2, 8), (2, 10), (2, 12))):
        x = layers.Conv2D(channels, 5, stride, padding="same", name=f"tiny{level}")(x)
        x = layers.ReLU(name=f"tiny{level}_relu")(
            layers.BatchNormalization(name=f"tiny{level}_bn")(x)
        )
        pyramid.append(x)
    return pyramid


def use_tiny_backbones(patch: pytest.MonkeyPatch | None = None) -> None:
    """Let the two smallest backbones be the tiny one in this process, for good without `patch`."""
    for name in ("resnet18", "efficientnet_lite0"):
        (patch or pytest.MonkeyPatch()).setitem(BACKBONES, name, tiny_backbone)
