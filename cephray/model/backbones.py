"""Backbones by name: each turns an image into a pyramid of features.

Every backbone gives the same pyramid: C2, C3, C4 and C5 with strides 4, 8, 16 and 32, each the
last feature of its stride. Sides that a stride does not divide are rounded up, except where a
published network with pretrained weights rounds down (VGG). It knows nothing of landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import keras
from keras import layers

from cephray.model.efficientnet import VARIANTS, efficientnet_lite, load_imagenet

STRIDES = (4, 8, 16, 32)

Tensor = Any
Weights = Literal["imagenet"] | None

# Factor and offset of grey values in [0, 1], as in the training of the pretrained weights: the
# means of ImageNet's channels for VGG and ResNet.
_SCALES: dict[str, tuple[float, Any]] = {
    "resnet50": (255.0, (-103.939, -116.779, -123.68)),
    **dict.fromkeys(VARIANTS, (255.0 / 128, -127.0 / 128)),
}


def build_pyramid(
    name: str, image: Tensor, weights: Weights = None, load: bool = True
) -> list[Tensor]:
    """Apply a backbone to a symbolic image.

    Args:
        name: one of `BACKBONES`.
        image: float tensor [B, H, W, 3], grey values in [0, 1].
        weights: "imagenet": pretrained weights, of `config.PRETRAINED_BACKBONES` alone, and the
            scale of grey values that they were trained with. Keras downloads those of VGG and
            ResNet50; those of an EfficientNet-Lite come as a Python package.
        load: without it the weights are fresh, for a checkpoint to fill.

    Returns:
        C2, C3, C4, C5: tensors [B, H / stride, W / stride, C].

    Raises:
        InputError: the weights' package is not installed.
    """
    if weights is not None:
        # Films are grey: the order of the channels matters to their means alone.
        scale, offset = _SCALES.get(name, _SCALES["resnet50"])
        image = layers.Rescaling(scale, offset=offset)(image)
    return BACKBONES[name](image, weights if load else None)


def _application(
    constructor: Callable[..., keras.Model], levels: tuple[str, str, str, str]
) -> Callable[[Tensor, Weights], list[Tensor]]:
    def build(image: Tensor, weights: Weights) -> list[Tensor]:
        network = constructor(include_top=False, weights=weights, input_tensor=image)
        return [network.get_layer(level).output for level in levels]

    return build


def _convolution(
    x: Tensor, filters: int, kernel_size: int, name: str, stride: int = 1, slope: float = 0.0
) -> Tensor:
    """Apply a convolution, batch normalisation and (leaky) ReLU."""
    if stride > 1:
        # Padding both sides alike, as the published networks do; "same" would pad one side only.
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides=stride,
        padding="valid" if stride > 1 else "same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn")(x)
    return layers.ReLU(negative_slope=slope, name=f"{name}_relu")(x)


def _residual_unit(x: Tensor, filters: int, name: str, stride: int) -> Tensor:
    """Two 3 × 3 convolutions and a shortcut (He et al. 2016, figure 2)."""
    shortcut = x
    if stride != 1 or x.shape[-1] != filters:
        shortcut = layers.Conv2D(
            filters, 1, strides=stride, use_bias=False, name=f"{name}_shortcut_conv"
        )(x)
        shortcut = layers.BatchNormalization(epsilon=1e-5, name=f"{name}_shortcut_bn")(shortcut)
    x = _convolution(x, filters, 3, f"{name}_1", stride)
    x = layers.Conv2D(
        filters,
        3,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_2_conv",
    )(x)
    x = layers.BatchNormalization(epsilon=1e-5, name=f"{name}_2_bn")(x)
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))


def _resnet(units: tuple[int, int, int, int]) -> Callable[[Tensor, Weights], list[Tensor]]:
    """ResNet of two-layer units (He et al. 2016, table 1)."""

    def build(image: Tensor, weights: Weights) -> list[Tensor]:
        x = _convolution(image, 64, 7, "stem", stride=2)
        x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
        x = layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
        levels = []
        for stage, count in enumerate(units):
            for unit in range(count):
                stride = 2 if stage > 0 and unit == 0 else 1
                x = _residual_unit(x, 64 * 2**stage, f"stage{stage + 2}_unit{unit + 1}", stride)
            levels.append(x)
        return levels

    return build


def _darknet19(image: Tensor, weights: Weights) -> list[Tensor]:
    """Darknet-19 without its classifier (Redmon & Farhadi 2017, table 6)."""
    levels = []
    x = image
    for stage, (filters, count) in enumerate(
        ((32, 1), (64, 1), (128, 3), (256, 3), (512, 5), (1024, 5)), start=1
    ):
        if stage > 1:
            x = layers.MaxPooling2D(2, padding="same", name=f"stage{stage}_pool")(x)
        for index in range(count):
            bottleneck = index % 2 == 1
            x = _convolution(
                x,
                filters // 2 if bottleneck else filters,
                1 if bottleneck else 3,
                f"stage{stage}_{index + 1}",
                slope=0.1,
            )
        levels.append(x)
    return levels[2:]  # strides 1 and 2 come first


def _darknet53(image: Tensor, weights: Weights) -> list[Tensor]:
    """Darknet-53 without its classifier (Redmon & Farhadi 2018, table 1)."""
    x = _convolution(image, 32, 3, "stem", slope=0.1)
    levels = []
    for stage, (filters, count) in enumerate(
        ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)), start=1
    ):
        x = _convolution(x, filters, 3, f"stage{stage}_down", stride=2, slope=0.1)
        for index in range(count):
            name = f"stage{stage}_unit{index + 1}"
            y = _convolution(x, filters // 2, 1, f"{name}_1", slope=0.1)
            y = _convolution(y, filters, 3, f"{name}_2", slope=0.1)
            x = layers.Add(name=f"{name}_add")([x, y])
        levels.append(x)
    return levels[1:]  # stride 2 comes first


def _efficientnet_lite(name: str) -> Callable[[Tensor, Weights], list[Tensor]]:
    def build(image: Tensor, weights: Weights) -> list[Tensor]:
        levels = efficientnet_lite(name, image)
        if weights is not None:
            load_imagenet(name, keras.Model(keras.utils.get_source_inputs(image), levels))
        return levels

    return build


BACKBONES: dict[str, Callable[[Tensor, Weights], list[Tensor]]] = {
    "vgg16": _application(
        keras.applications.VGG16, ("block3_conv3", "block4_conv3", "block5_conv3", "block5_pool")
    ),
    "vgg19": _application(
        keras.applications.VGG19, ("block3_conv4", "block4_conv4", "block5_conv4", "block5_pool")
    ),
    "resnet18": _resnet((2, 2, 2, 2)),
    "resnet34": _resnet((3, 4, 6, 3)),
    "resnet50": _application(
        keras.applications.ResNet50,
        ("conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
    ),
    "darknet19": _darknet19,
    "darknet53": _darknet53,
    **{name: _efficientnet_lite(name) for name in VARIANTS},
}
