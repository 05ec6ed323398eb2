"""Max pooling made of slices against TensorFlow's own."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from cephray.training.clone import replace_layers
from cephray.training.max_pool import composed_max_pool, max_pool
from tests.devices import on_cpu


def differentiate(pool: Any, inputs: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    x = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(x)
        pooled = pool(x)
    weights = np.random.default_rng(1).normal(size=pooled.shape).astype(inputs.dtype)
    return pooled.numpy(), tape.gradient(pooled, x, weights).numpy()


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("size", "strides"), [((3, 3), (2, 2)), ((2, 2), (2, 2)), ((3, 2), (1, 3))]
)
@pytest.mark.parametrize("shape", [(2, 8, 6, 3), (1, 7, 9, 2), (3, 3, 3, 1)])
@pytest.mark.parametrize("jit", [False, True])
def test_it_is_tensorflows(
    shape: tuple[int, ...],
    size: tuple[int, int],
    strides: tuple[int, int],
    padding: str,
    jit: bool,
) -> None:
    # Few values, so that windows have several maxima.
    inputs = np.random.default_rng(0).integers(-3, 3, shape).astype(np.float32)

    @tf.function(jit_compile=jit)
    def ours(x: Any) -> Any:
        return max_pool(x, size, strides, padding)

    def tensorflows(x: Any) -> Any:
        return tf.nn.max_pool2d(x, size, strides, padding.upper())

    with on_cpu():
        expected = differentiate(tensorflows, inputs)
    for value, wanted in zip(differentiate(ours, inputs), expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-6)


def test_a_models_layers_use_it_and_xla_compiles_it_where_runs_are_deterministic() -> None:
    image = keras.Input((8, 8, 2))
    model = keras.Model(image, keras.layers.MaxPooling2D(3, 2, padding="same")(image))
    inputs = np.random.default_rng(0).normal(size=(2, 8, 8, 2)).astype(np.float32)
    with on_cpu():
        expected = differentiate(model, inputs)
    pooled_of = tf.function(replace_layers(model, composed_max_pool), jit_compile=True)
    for value, wanted in zip(differentiate(pooled_of, inputs), expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-6)
