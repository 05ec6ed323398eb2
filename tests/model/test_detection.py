"""The landmarks that a heatmap finds near first estimates, against loops in float64."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from cephray.config import Config
from cephray.model import build_network, build_predict_step, predict
from cephray.model.detection import HeatmapDetection

MakeConfig = Callable[..., Config]
HEIGHT, WIDTH, CHANNELS, K = 5, 4, 3, 2
WINDOW, ASPECT = 0.15, 0.8


def drawn() -> tuple[HeatmapDetection, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    layer = HeatmapDetection(K, WINDOW, ASPECT, dtype="float64")
    features = rng.normal(size=(2, HEIGHT, WIDTH, CHANNELS))
    points = rng.uniform(0.1, 0.9, size=(2, K, 2))
    points[1, 1] = (1.3, -0.2)  # outside the film
    layer(features, points)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer, features, points


def test_a_landmark_is_the_mean_place_of_its_heatmap() -> None:
    layer, features, points = drawn()
    kernel, bias = (weight.numpy() for weight in layer.weights)
    expected = np.zeros((2, K, 2))
    for film in range(2):
        for k in range(K):
            total = 0.0
            for row in range(HEIGHT):
                for column in range(WIDTH):
                    place = np.array([(column + 0.5) / WIDTH, (row + 0.5) / HEIGHT])
                    way = (place - points[film, k]) * [ASPECT, 1]  # in heights of the film
                    logit = features[film, row, column] @ kernel[0, 0, :, k] + bias[k]
                    weight = np.exp(logit) * np.exp(-(way @ way) / (2 * WINDOW**2))
                    expected[film, k] += weight * place
                    total += weight
            expected[film, k] /= total
    np.testing.assert_allclose(layer(features, points), expected, rtol=1e-12)


def test_no_gradient_reaches_the_first_estimate() -> None:
    layer, features, points = drawn()
    features, points = tf.constant(features), tf.constant(points)
    with tf.GradientTape() as tape:
        tape.watch([features, points])
        total = tf.reduce_sum(layer(features, points))
    of_features, of_points = tape.gradient(total, [features, points])
    assert np.abs(of_features).max() > 0
    assert of_points is None


@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize(("depth", "stride"), [(1, 32), (4, 16)])
def test_stage_one_begins_near_its_regression(
    depth: int, stride: int, small_config: MakeConfig
) -> None:
    """Before training, the heatmap is flat: what it finds is within a cell of the regression."""
    keras.utils.set_random_seed(0)
    network = build_network(
        small_config(f"model.fusion_depth={depth}", "model.detection_heatmap=true")
    )
    network.get_layer("detection").prior.assign(np.full((19, 2), 0.5))
    image = np.random.default_rng(0).uniform(size=(2, 96, 64, 3)).astype(np.float32)
    found = predict(network, image)
    assert found.regressed is not None
    np.testing.assert_array_less(np.abs(found.coarse - found.regressed) * (64, 96), stride)
    assert np.abs(found.coarse - found.regressed).max() > 1e-4
    inferred = build_predict_step(network)(tf.constant(image))
    assert inferred.regressed is None
    np.testing.assert_allclose(inferred.coarse, found.coarse, rtol=1e-3, atol=1e-4)
