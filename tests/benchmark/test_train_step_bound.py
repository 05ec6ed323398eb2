"""The bound of a training step: operations against counts by hand, bytes, and measured rates."""

from __future__ import annotations

from collections.abc import Callable

import keras
import pytest
import tensorflow as tf
from keras import layers

from cephray.benchmark.train_step_bound import (
    Bound,
    copy_bytes_per_s,
    count_operations,
    matmul_operations_per_s,
    measure_bound,
    update_bytes,
)
from cephray.benchmark.train_step_cases import preset_case
from cephray.config import Config, load_config
from cephray.model import build_network
from cephray.training import build_optimizer

MakeConfig = Callable[..., Config]
B, H, W = 2, 8, 6


def multiply_adds(layer: keras.layers.Layer, forward: int) -> tuple[int, int]:
    """Return the count of a layer behind another one, and the other's, for B films."""
    image = keras.Input((H, W, 3))
    first = layers.Conv2D(4, 1, name="first")  # Keras may have named another one conv2d
    model = keras.Model(image, layer(first(image)))
    of_first = B * H * W * 3 * 4
    # Three passes behind another layer; the first layer's input needs no gradient.
    return count_operations(model, B) // 2, 2 * of_first + 3 * forward


@pytest.mark.parametrize(
    ("layer", "forward"),
    [
        (layers.Conv2D(5, 3, padding="same"), B * H * W * 9 * 4 * 5),
        (layers.Conv2D(5, 3, strides=2), B * 3 * 2 * 9 * 4 * 5),
        (layers.DepthwiseConv2D(3, padding="same"), B * H * W * 9 * 4),
        (layers.BatchNormalization(), 0),
    ],
    ids=["convolution", "with stride", "depthwise", "batch normalisation"],
)
def test_convolutions_are_counted(layer: keras.layers.Layer, forward: int) -> None:
    counted, by_hand = multiply_adds(layer, forward)
    assert counted == by_hand


def test_matrix_products_are_counted() -> None:
    image = keras.Input((H, W, 3))
    hidden = layers.Dense(7)(layers.Flatten()(image))
    model = keras.Model(image, layers.Dense(5)(hidden))
    assert count_operations(model, B) == 2 * B * (2 * H * W * 3 * 7 + 3 * 7 * 5)


def test_a_frozen_layer_needs_the_forward_pass_alone() -> None:
    image = keras.Input((H, W, 3))
    frozen = layers.Conv2D(4, 1, trainable=False)
    model = keras.Model(image, layers.Conv2D(5, 1)(frozen(image)))
    assert count_operations(model, B) == 2 * B * H * W * (3 * 4 + 2 * 4 * 5)


def test_our_network_is_counted_in_proportion_to_the_films(small_config: MakeConfig) -> None:
    model = build_network(small_config())
    once = count_operations(model, 1)
    # ResNet18 of a film of 224 × 224 makes 1.8e9 multiply-adds (He et al. 2016, table 1).
    assert once > 2.5 * 2 * 1.8e9 * (96 * 64) / 224**2
    assert count_operations(model, 3) == 3 * once


def test_every_shape_of_the_best_network_is_known() -> None:
    config = load_config("best", ["data.image_height=128", "data.image_width=96"])
    model = build_network(config, pretrained=False)
    assert count_operations(model, 2) == 2 * count_operations(model, 1) > 0


@pytest.mark.parametrize(("average", "copies"), [("null", 4), ("0.9", 5)])
def test_bytes_of_the_update(average: str, copies: int) -> None:
    """Weights, gradients, two moments and perhaps an average, each read and written."""
    config = load_config(overrides=[f"train.average_decay={average}"])
    variables = [keras.Variable(tf.zeros((1000, 10)))]
    optimizer = build_optimizer(config.train, 1)
    optimizer.build(variables)
    counters = 2 * 16  # the optimiser's step and rate
    moved = update_bytes(variables, optimizer)
    assert copies * 2 * 4 * 10_000 <= moved <= copies * 2 * 4 * 10_000 + counters


def test_the_bound_is_the_longer_time() -> None:
    assert Bound(100, 10, operations_per_s=10.0, bytes_per_s=10.0).seconds == 10.0
    assert Bound(100, 10, operations_per_s=1000.0, bytes_per_s=10.0).seconds == 1.0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_device_has_rates(dtype: str) -> None:
    """A processor makes between a tenth of and ten thousand operations a nanosecond."""
    assert 1e8 < matmul_operations_per_s(dtype, side=256) < 1e13
    assert 1e8 < copy_bytes_per_s(1 << 22) < 1e13


@pytest.mark.gpu
def test_a_step_on_a_gpu_has_a_bound() -> None:
    if not tf.config.list_physical_devices("GPU"):
        pytest.skip("no NVIDIA GPU that TensorFlow can use")
    config = preset_case("paper", 8).config
    model = build_network(config, pretrained=False)
    optimizer = build_optimizer(config.train, 1)
    optimizer.build(model.trainable_variables)
    bound = measure_bound(model, optimizer, 8)
    assert 1e-4 < bound.seconds < 1.0
