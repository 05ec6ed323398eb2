"""The whole network: shapes, sizes, switches and where gradients go."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import keras
import numpy as np
import pytest
import tensorflow as tf

from cephray.config import Backbone, Config
from cephray.model.backbones import BACKBONES, STRIDES, build_pyramid
from cephray.model.network import Prediction, build_network, image_shape, predict
from cephray.model.predict_step import build_predict_step

pytestmark = pytest.mark.usefixtures("full_float32")
MakeConfig = Callable[..., Config]


def test_every_backbone_of_the_configuration_exists() -> None:
    assert set(BACKBONES) == set(get_args(Backbone))


@pytest.mark.parametrize("name", BACKBONES)
def test_pyramid_has_the_strides_of_its_name(name: str) -> None:
    pyramid = build_pyramid(name, keras.Input((128, 96, 3)))
    assert [level.shape[1:3] for level in pyramid] == [(128 // s, 96 // s) for s in STRIDES]


@pytest.mark.parametrize("name", BACKBONES)
def test_sizes_that_no_stride_divides(name: str, small_config: MakeConfig) -> None:
    config = small_config(
        f"model.backbone={name}",
        "model.fusion_depth=4",
        "data.image_height=75",
        "data.image_width=101",
    )
    network = build_network(config)
    prediction = predict(network, np.zeros((2, 75, 101, 3), np.float32))
    assert prediction.coarse.shape == prediction.refined.shape == (2, 19, 2)


@pytest.mark.usefixtures("tiny_backbones")
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("pool", [1, 4])
def test_fusion_depth_and_pool_size(depth: int, pool: int, small_config: MakeConfig) -> None:
    network = build_network(
        small_config(f"model.fusion_depth={depth}", f"model.roi_pool_size={pool}")
    )
    crop = network.get_layer("crop")
    assert crop.output.shape == (None, 19, pool, pool, 8 * depth)
    assert crop.window_cells == (9, 7, 5, 3)[-depth:]


def test_defaults_are_the_papers() -> None:
    network = build_network(Config())
    shapes = {weight.path: tuple(weight.shape) for weight in network.weights}
    assert image_shape(network) == (800, 640, 3)
    assert shapes["detection/linear/kernel"] == (25 * 20 * 2048, 38)
    assert shapes["refinement/conv_kernel"] == (19, 3, 3, 3 * 256, 512)
    assert shapes["refinement/hidden_kernel"] == (19, 5 * 5 * 512, 512)
    assert shapes["refinement/output_kernel"] == (19, 512, 2)


@pytest.mark.usefixtures("tiny_backbones")
def test_offsets_in_windows_are_offsets_in_films_scaled(small_config: MakeConfig) -> None:
    keras.utils.set_random_seed(0)
    film = build_network(small_config())
    window = build_network(small_config("model.offset_unit=window"))
    window.set_weights(film.get_weights())
    image = np.random.default_rng(0).random((1, 96, 64, 3), np.float32)
    one, other = predict(film, image), predict(window, image)
    smallest_px = min(8 * 7, 16 * 5, 32 * 3)
    np.testing.assert_allclose(
        other.refined - other.coarse,
        (one.refined - one.coarse) * np.array([smallest_px / 64, smallest_px / 96], np.float32),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.usefixtures("cpu", "tiny_backbones")
def test_more_passes_move_further_with_the_same_weights(small_config: MakeConfig) -> None:
    once, twice = (build_network(small_config(f"model.refinement_passes={n}")) for n in (1, 2))
    assert [w.shape for w in once.weights] == [w.shape for w in twice.weights]
    twice.set_weights(once.get_weights())
    image = np.random.default_rng(0).random((1, 96, 64, 3), np.float32)
    one, two = predict(once, image), predict(twice, image)
    np.testing.assert_array_equal(two.passes[:, 0], one.refined)
    assert np.abs(two.refined - one.refined).min() > 1e-4


@pytest.mark.usefixtures("cpu", "tiny_backbones")
def test_first_windows_stand_where_they_are_told(small_config: MakeConfig) -> None:
    network = build_network(small_config())
    image = np.random.default_rng(0).random((2, 96, 64, 3), np.float32)
    own = predict(network, image)
    points = own.coarse.numpy() + 0.2
    points[0] = np.nan
    told = predict(network, image, first_points=points)
    np.testing.assert_array_equal(told.coarse, own.coarse)
    np.testing.assert_array_equal(told.refined[0], own.refined[0])
    assert np.abs(told.refined[1] - own.refined[1]).min() > 0


@pytest.mark.usefixtures("tiny_backbones")
def test_passes_are_steps_of_the_same_network(small_config: MakeConfig) -> None:
    """The second pass of two is the first of a network that begins where the first ended."""
    network = build_network(
        small_config(
            "model.refinement_passes=2", "model.spread=true", "loss.error=laplace", "loss.unit=mm"
        )
    )
    image = tf.constant(np.random.default_rng(0).random((2, 96, 64, 3), np.float32))
    both = predict(network, image)
    again = predict(network, image, first_points=both.passes[:, 0])
    np.testing.assert_allclose(again.passes[:, 0], both.passes[:, 1], atol=1e-6)
    assert again.spread is not None
    assert both.spread is not None
    np.testing.assert_allclose(again.spread[:, 0], both.spread[:, 1], rtol=1e-5)
    assert np.array_equal(both.refined, both.passes[:, 1])
    assert np.all(both.spread.numpy() > 0)


@pytest.mark.usefixtures("tiny_backbones")
@pytest.mark.parametrize("detached", [False, True])
def test_a_detached_pass_teaches_no_earlier_one(detached: bool, small_config: MakeConfig) -> None:
    network = build_network(
        small_config(f"model.detach_passes={detached}", "model.refinement_passes=2")
    )
    image = np.random.default_rng(0).random((2, 96, 64, 3), np.float32)
    with tf.GradientTape() as tape:
        refined = predict(network, image).refined
    gradient = tape.gradient(refined, network.get_layer("detection").linear.kernel.value)
    assert (gradient is None or not np.any(gradient)) == detached


@pytest.mark.usefixtures("tiny_backbones")
def test_finest_of_the_fused_levels_are_cropped(small_config: MakeConfig) -> None:
    network = build_network(
        small_config(
            "model.fusion_depth=4", "model.crop_depth=2", "model.window_cells=[3, 4, 6, 8]"
        )
    )
    crop = network.get_layer("crop")
    assert crop.strides == (4, 8)
    assert crop.window_cells == (8, 6)
    assert crop.smallest_window == 32
    assert crop.output.shape == (None, 19, 3, 3, 16)
    fewer = build_network(small_config("model.fusion_depth=1", "model.crop_depth=2"))
    assert fewer.get_layer("crop").strides == (32,)


@pytest.mark.usefixtures("cpu")
def test_small_heads_and_detection(small_config: MakeConfig) -> None:
    network = build_network(
        small_config("model.head=dense", "model.head_dropout=0.5", "model.detection_channels=6")
    )
    shapes = {weight.path: tuple(weight.shape) for weight in network.weights}
    assert shapes["detection/reduce/kernel"] == (1, 1, 512, 6)
    assert shapes["detection/linear/kernel"] == (3 * 2 * 6, 38)
    assert shapes["refinement/reduce/kernel"] == (3 * 8, 4)
    assert shapes["refinement/hidden_kernel"] == (19, 3 * 3 * 4, 8)
    image = np.random.default_rng(0).random((1, 96, 64, 3), np.float32)
    first, second = (predict(network, image) for _ in range(2))
    np.testing.assert_array_equal(first.refined, second.refined)
    assert isinstance(first, Prediction)


@pytest.mark.usefixtures("tiny_backbones")
@pytest.mark.parametrize("differentiable", [False, True])
def test_boxes_carry_a_gradient_only_where_asked(
    differentiable: bool, small_config: MakeConfig
) -> None:
    """Without it, the offsets do not depend on the detection module's weights."""
    network = build_network(small_config(f"model.differentiable_boxes={differentiable}"))
    image = np.random.default_rng(0).random((2, 96, 64, 3), np.float32)
    with tf.GradientTape() as tape:
        prediction = predict(network, image)
        offsets = tf.reduce_sum(tf.square(prediction.refined - prediction.coarse))
    kernel = network.get_layer("detection").linear.kernel.value
    # refined − coarse cancels the direct path; what is left passes through the boxes.
    gradient = tape.gradient(offsets, kernel)
    assert (np.abs(gradient).max() > 1e-9) == differentiable


def test_every_weight_gets_a_gradient(small_config: MakeConfig) -> None:
    network = build_network(small_config("model.fusion_depth=4"))
    with tf.GradientTape() as tape:
        prediction = predict(
            network, np.random.default_rng(0).random((2, 96, 64, 3), np.float32), training=True
        )
        loss = tf.reduce_sum(prediction.coarse) + tf.reduce_sum(tf.square(prediction.refined))
    gradients = tape.gradient(loss, [v.value for v in network.trainable_variables])
    for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
        assert np.abs(gradient).max() > 0.01, variable.path


def test_batch_normalisation_follows_the_configuration(small_config: MakeConfig) -> None:
    network = build_network(small_config("model.batch_norm_momentum=0.7"))
    norms = [x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert len(norms) > 10
    assert all(norm.momentum == 0.7 for norm in norms)


def test_a_heatmap_is_for_the_loss_alone(small_config: MakeConfig) -> None:
    """It has a cell for each of the finest level; inference leaves it out."""
    config = small_config("model.heatmap=true", "model.fusion_depth=4")
    network = build_network(config)
    image = np.random.default_rng(0).uniform(size=(2, 96, 64, 3)).astype(np.float32)
    found = predict(network, image)
    assert found.heatmap is not None
    assert found.heatmap.shape == (2, 24, 16, 19)
    inferred = build_predict_step(network)(tf.constant(image))
    assert inferred.heatmap is None
    np.testing.assert_allclose(inferred.refined, found.refined, rtol=1e-3, atol=1e-4)
    plain = build_network(small_config("model.fusion_depth=4"))
    assert network.count_params() - plain.count_params() == (8 + 1) * 19
