"""Gradients of the crop's gradients, against finite differences and the keras.ops composition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from cephray.ops import roi_crop
from cephray.ops.reference import roi_crop_keras
from tests.devices import on_cpu
from tests.ops.cases import Array, assert_close, draw_weights


def draw_inputs(seed: int = 0) -> tuple[list[Array], Array]:
    rng = np.random.default_rng(seed)
    features = [rng.standard_normal((2, 9, 17, 3)), rng.standard_normal((2, 5, 5, 2))]
    # Odd multiples of 1/1024, so that no sample lies on a cell's centre.
    low = rng.integers(0, 200, (2, 3, 2, 2)) * 2 + 1
    boxes = np.concatenate([low, low + 300 + 2 * rng.integers(0, 40, low.shape)], -1) / 1024
    return features, boxes.astype(np.float32)


def second(crop: Any, features: list[Array], boxes: Array) -> list[Array]:
    """Gradients of <u, gradient of <crop, g>> by features, boxes and g."""
    inputs = [*(tf.constant(f) for f in features), tf.constant(boxes)]
    g = tf.constant(draw_weights((2, 3, 3, 4, 5), np.float64))
    with tf.GradientTape() as outer:
        outer.watch([*inputs, g])
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            crops = crop(inputs[:-1], inputs[-1], (3, 4))
        first = inner.gradient(crops, inputs, g)
    upstream = [
        tf.constant(draw_weights(f.shape, f.dtype.as_numpy_dtype, i)) for i, f in enumerate(first)
    ]
    return [
        tf.convert_to_tensor(gradient).numpy()
        for gradient in outer.gradient(first, [*inputs, g], upstream)
    ]


def test_second_gradients_equal_those_of_the_composition() -> None:
    for seed in range(3):
        features, boxes = draw_inputs(seed)
        with on_cpu():
            wanted = second(roi_crop_keras, features, boxes)
        for actual, expected in zip(second(roi_crop, features, boxes), wanted, strict=True):
            assert_close(actual, expected, 1e-5)


def slope(function: Callable[[tf.Tensor], tf.Tensor], at: Array, direction: Array) -> float:
    return float(function(tf.constant(at + direction)) - function(tf.constant(at - direction))) / 2


def test_feature_gradient_of_the_gradient_equals_finite_differences() -> None:
    """<h, gradient of <crop, g>> is linear in g, so that a step of any size is exact."""
    features, boxes = draw_inputs()
    h = [tf.constant(draw_weights(f.shape, f.dtype, 7 + i)) for i, f in enumerate(features)]

    def product(g: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            inputs = [tf.constant(f) for f in features]
            tape.watch(inputs)
            crops = roi_crop(inputs, boxes, (3, 4))
        gradients = tape.gradient(crops, inputs, g)
        return tf.add_n([tf.reduce_sum(a * b) for a, b in zip(h, gradients, strict=True)])

    g = draw_weights((2, 3, 3, 4, 5), np.float64)
    direction = draw_weights(g.shape, g.dtype, 9)
    with tf.GradientTape() as tape:
        variable = tf.constant(g)
        tape.watch(variable)
        value = product(variable)
    gradient = tape.gradient(value, variable).numpy()
    wanted = slope(product, g, direction)
    assert np.vdot(gradient, direction) == pytest.approx(wanted, rel=1e-6)


def test_second_gradient_inside_a_graph() -> None:
    """A gradient penalty, as a loss may have it."""
    features, boxes = draw_inputs()

    def penalty(feature: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as outer:
            outer.watch(feature)
            with tf.GradientTape() as inner:
                inner.watch(feature)
                crops = roi_crop([feature, other], boxes, (3, 4))
                value = tf.reduce_sum(crops**2)
            norm = tf.reduce_sum(inner.gradient(value, feature) ** 2)
        return outer.gradient(norm, feature)

    eager = penalty(*(tf.constant(f) for f in features))
    graph = tf.function(penalty)(*(tf.constant(f) for f in features))
    assert_close(graph.numpy(), eager.numpy(), 1e-12)
    assert np.abs(eager.numpy()).max() > 0


def test_unknown_crop_size_is_refused_in_words() -> None:
    from cephray.ops.crop import load_operations

    @tf.function(input_signature=[tf.TensorSpec([1, 1, None, None, 2], tf.float32)])
    def run(g: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(g)
            (gradient,) = load_operations().cephray_roi_crop_grad_features(
                tf.zeros((1, 1, 1, 4)), g, [tf.constant([1, 4, 4, 2], tf.int64)]
            )
        return tape.gradient(gradient, g)

    with pytest.raises(ValueError, match="needs a gradient of the crops whose S_h and S_w"):
        run(tf.ones((1, 1, 2, 2, 2)))
