"""Batch normalisation in one kernel against Keras' own, in float64."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from cephray.training.batch_norm import (
    FusedBatchNormalization,
    ReplicaBatchNormalization,
    fused_batch_norm,
    replica_batch_norm,
)
from cephray.training.clone import Rule, replace_layers
from tests.devices import on_cpu

IMAGES = np.random.default_rng(0).normal(2.0, 3.0, (3, 5, 4, 6)).astype(np.float32)


def build(dtype: str = "float32") -> tuple[keras.Model, keras.layers.BatchNormalization]:
    layer = keras.layers.BatchNormalization(momentum=0.8, epsilon=1e-3, dtype=dtype)
    image = keras.Input((5, 4, 6), dtype=dtype.removeprefix("mixed_"))
    model = keras.Model(image, layer(image))
    rng = np.random.default_rng(1)
    for variable in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance):
        variable.assign(rng.uniform(0.5, 2.0, 6))
    return model, layer


def replaced(rule: Rule, kind: type, model: keras.Model, layer: Any) -> tuple[keras.Model, Any]:
    copy = replace_layers(model, rule)
    replacement = copy.get_layer(layer.name)
    assert isinstance(replacement, kind)
    return copy, replacement


fused = partial(replaced, fused_batch_norm, FusedBatchNormalization)
of_replicas = partial(replaced, replica_batch_norm, ReplicaBatchNormalization)


def train(model: keras.Model, layer: Any, dtype: str) -> list[np.ndarray[Any, Any]]:
    """Return outputs, gradients, and averages after one step."""
    image = tf.constant(IMAGES, dtype)
    weights = tf.constant(np.random.default_rng(2).normal(size=IMAGES.shape), dtype)

    @tf.function
    def step() -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(image)
            normalised = model(image, training=True)
            loss = tf.reduce_sum(weights * normalised)
        return normalised, tape.gradient(loss, [image, layer.gamma.value, layer.beta.value])

    normalised, gradients = step()
    averages = [layer.moving_mean, layer.moving_variance]
    return [np.asarray(x) for x in (normalised, *gradients, *averages)]


@pytest.mark.parametrize("fuse", [fused, of_replicas])
def test_it_is_what_keras_computes(fuse: Any) -> None:
    with on_cpu():
        expected = train(*build("float64"), "float64")
    model, layer = fuse(*build())
    found = train(model, layer, "float32")
    for value, oracle in zip(found, expected, strict=True):
        assert np.abs(oracle).max() > 0.1
        np.testing.assert_allclose(value, oracle, rtol=0, atol=3e-6 * np.abs(oracle).max())


@pytest.mark.parametrize(
    ("policy", "unit"), [("mixed_bfloat16", 2**-8), ("mixed_float16", 2**-11)]
)
def test_half_precision_keeps_statistics_in_float32(policy: str, unit: float) -> None:
    """Outputs are within rounding to the type; the averages of the rounded inputs are exact."""
    dtype = policy.removeprefix("mixed_")
    rounded = tf.cast(tf.constant(IMAGES, dtype), tf.float64).numpy()
    model, layer = build(policy)
    gamma, beta = layer.gamma.numpy(), layer.beta.numpy()
    mean_before, variance_before = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    model, layer = fused(model, layer)
    normalised = np.asarray(tf.cast(model(tf.constant(IMAGES, dtype), training=True), tf.float64))
    mean, variance = rounded.mean((0, 1, 2)), rounded.var((0, 1, 2))
    expected = (rounded - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    np.testing.assert_allclose(normalised, expected, rtol=2 * unit, atol=2 * unit)
    np.testing.assert_allclose(
        layer.moving_mean.numpy(), 0.8 * mean_before + 0.2 * mean, rtol=1e-5
    )
    wanted = 0.8 * variance_before + 0.2 * variance
    np.testing.assert_allclose(layer.moving_variance.numpy(), wanted, rtol=1e-5)


@pytest.mark.parametrize("fuse", [fused, of_replicas])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_it_is_one_kernel(policy: str, fuse: Any) -> None:
    model, _ = fuse(*build(policy))
    step = tf.function(lambda image: model(image, training=True))
    image = tf.constant(IMAGES, policy.removeprefix("mixed_"))
    graph = step.get_concrete_function(image).graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert "FusedBatchNormV3" in kinds
    assert "SquaredDifference" not in kinds


@pytest.mark.parametrize("training", [False, True])
def test_frozen_layers_and_prediction_keep_to_the_averages(training: bool) -> None:
    model, layer = build()
    layer.trainable = not training
    before = model(IMAGES, training=training).numpy()
    averages = layer.moving_mean.numpy()
    model, layer = fused(model, layer)
    np.testing.assert_array_equal(model(IMAGES, training=training).numpy(), before)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), averages)
