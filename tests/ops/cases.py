"""Random crops, and what the op's tests compare them with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Case = tuple[list[Array], Array, tuple[int, int]]

BOX_KINDS = ("inside", "leaving", "outside", "inverted", "zero", "whole", "clipped")


def draw_box(rng: np.random.Generator) -> Array:
    kind = rng.choice(BOX_KINDS)
    low, high = np.sort(rng.uniform(0, 1, (2, 2)), axis=0)
    box = np.array([*low, *high])
    if kind == "leaving":
        box = 3 * box - 1
    elif kind == "outside":
        box += 1.5
    elif kind == "inverted":
        box = box[[2, 1, 0, 3]] if rng.random() < 0.5 else box[[2, 3, 0, 1]]
    elif kind == "zero":
        box[2:] = box[:2]
    elif kind == "whole":
        box = np.array([0.0, 0.0, 1.0, 1.0])
    elif kind == "clipped":
        box[2:] = 1.0
    return box


def draw_case(seed: int, dtype: str = "float32") -> Case:
    rng = np.random.default_rng(seed)
    B, K, L = rng.integers(1, 4), rng.integers(1, 5), rng.integers(1, 4)
    features = [
        rng.standard_normal((B, *rng.integers(1, 20, 2), rng.integers(1, 40))).astype(dtype)
        for _ in range(L)
    ]
    boxes = np.stack([draw_box(rng) for _ in range(B * K * L)]).reshape(B, K, L, 4)
    crop_size = tuple(int(size) for size in rng.integers(1, 8, 2))
    return features, boxes.astype(np.float32), (crop_size[0], crop_size[1])


def run_with_gradients(
    crop: Any, features: Sequence[Array], boxes: Array, crop_size: tuple[int, int], seed: int = 0
) -> tuple[Array, list[Array]]:
    """The crops, and the gradients of their product with fixed numbers: features, then boxes."""
    import tensorflow as tf

    inputs = [*(tf.constant(feature) for feature in features), tf.constant(boxes)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        crops = crop(inputs[:-1], inputs[-1], crop_size)
    weights = draw_weights(crops.shape, crops.dtype.as_numpy_dtype, seed)
    return crops.numpy(), [g.numpy() for g in tape.gradient(crops, inputs, weights)]


def draw_weights(shape: Any, dtype: Any, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(tuple(shape)).astype(dtype)


def assert_close(actual: Array, wanted: Array, tolerance: float) -> None:
    """Compare within `tolerance` relative to the largest wanted value."""
    assert actual.shape == wanted.shape
    scale = max(1e-3, float(np.abs(wanted).max(initial=0)))
    np.testing.assert_allclose(
        actual.astype(np.float64), wanted.astype(np.float64), rtol=0, atol=tolerance * scale
    )
