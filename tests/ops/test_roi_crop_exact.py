"""Crops whose values are known beforehand: small maps, borders, images, levels, dtypes.

The behaviours are those that TensorFlow's tests of crop_and_resize and torchvision's tests of
RoIAlign check. The numbers are such that every dtype holds them exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from cephray import _core
from cephray.ops import roi_crop
from cephray.ops.reference import roi_crop_keras
from tests.devices import device_of
from tests.ops.cases import Array, draw_case, draw_weights, run_with_gradients

DTYPES = ["float16", "bfloat16", "float32", "float64"]
CROPS: dict[str, Any] = {
    "operation": roi_crop,
    "composition": roi_crop_keras,
    "bindings": lambda features, boxes, size: _core.roi_crop(
        [np.asarray(feature) for feature in features], boxes, size
    ),
}


def run(name: str, features: list[Array], boxes: Array, crop_size: tuple[int, int]) -> Array:
    with device_of(CROPS[name]):
        return np.asarray(CROPS[name](features, boxes, crop_size))


# 16 · row + 4 · column: linear, so that a sample between cells is known without interpolating.
ROWS, COLUMNS = 16, 4


def ramp(height: int, width: int, dtype: str = "float32") -> Array:
    y, x = np.mgrid[:height, :width]
    return np.asarray(tf.cast((ROWS * y + COLUMNS * x)[None, ..., None], dtype))


def box(*ends: float) -> Array:
    return np.array(ends, np.float32).reshape(1, -1, 1, 4)


# (height, width) of the map, box, crop size: the rows and columns that are sampled; None: outside.
CASES: dict[str, tuple[tuple[int, int], tuple[float, ...], tuple[int, int], Any, Any]] = {
    "one sample lies in the middle": ((2, 4), (0, 0, 1, 1), (1, 1), [0.5], [1.5]),
    "one sample of a flipped box too": ((2, 4), (1, 1, 0, 0), (1, 1), [0.5], [1.5]),
    "one sample of a box off the middle": ((5, 5), (0, 0.5, 0.5, 1), (1, 1), [1], [3]),
    "enlarged": ((2, 2), (0, 0, 1, 1), (3, 5), [0, 0.5, 1], [0, 0.25, 0.5, 0.75, 1]),
    "enlarged and flipped": ((2, 2), (1, 1, 0, 0), (3, 3), [1, 0.5, 0], [1, 0.5, 0]),
    "flipped along y only": ((3, 3), (1, 0, 0, 1), (3, 3), [2, 1, 0], [0, 1, 2]),
    "flipped along x only": ((3, 3), (0, 1, 1, 0), (3, 3), [0, 1, 2], [2, 1, 0]),
    "reduced skips cells": ((5, 9), (0, 0, 1, 1), (2, 3), [0, 4], [0, 4, 8]),
    "reduced and flipped": ((5, 5), (0.5, 1, 0, 0), (2, 2), [2, 0], [4, 0]),
    "a quarter of the map": ((5, 5), (0, 0, 0.5, 0.5), (2, 2), [0, 2], [0, 2]),
    "every cell once": ((5, 9), (0, 0, 1, 1), (5, 9), range(5), range(9)),
    "beyond the start": ((2, 2), (-1, -1, 1, 1), (3, 3), [None, 0, 1], [None, 0, 1]),
    "beyond the end": ((2, 2), (0, 0, 2, 2), (3, 3), [0, 1, None], [0, 1, None]),
    "beyond both ends": ((3, 3), (-1, 0, 2, 1), (4, 2), [None, 0, 2, None], [0, 2]),
    "beyond and flipped": ((2, 2), (1, 2, -1, 0), (3, 3), [1, 0, None], [None, 1, 0]),
    "all outside": ((3, 3), (1.5, 0, 2, 1), (2, 2), [None, None], [0, 2]),
    "of no height": ((3, 5), (0.5, 0, 0.5, 1), (2, 3), [1, 1], [0, 2, 4]),
    "of no size": ((3, 3), (0.25, 0.75, 0.25, 0.75), (2, 2), [0.5, 0.5], [1.5, 1.5]),
    "of a single cell": ((1, 1), (0, 0, 1, 1), (2, 2), [0, 0], [0, 0]),
    "of a single row": ((1, 3), (0, 0, 1, 1), (3, 3), [0, 0, 0], [0, 1, 2]),
    "of a single cell, whatever the box": ((1, 1), (-2, 7, 3, -4), (2, 2), [0, 0], [0, 0]),
}


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_values_are_known_beforehand(case: str, dtype: str, crop: str) -> None:
    size, ends, crop_size, rows, columns = CASES[case]
    inside = np.array([[y is not None and x is not None for x in columns] for y in rows])
    wanted = [[8 + ROWS * (y or 0) + COLUMNS * (x or 0) for x in columns] for y in rows]
    crops = run(crop, [ramp(*size, dtype) + 8], box(*ends), crop_size)
    assert crops.shape == (1, 1, *crop_size, 1)
    assert str(crops.dtype) == dtype
    np.testing.assert_array_equal(crops[0, 0, :, :, 0], np.where(inside, wanted, 0))


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("axis", [0, 1])
def test_the_border_is_inside_and_what_follows_is_not(axis: int, crop: str) -> None:
    """On a map of 2 cells an axis, a coordinate is that of the box, not rounded."""
    one, zero = np.float32(1), np.float32(0)
    feature = np.full((1, 2, 2, 1), 3, np.float32)
    for place, inside in (
        (one, True),
        (np.nextafter(one, one + one), False),
        (np.nextafter(one, zero), True),
        (zero, True),
        (-zero, True),
        (np.nextafter(zero, -one), False),
    ):
        ends = np.zeros(4, np.float32)
        ends[[axis, axis + 2]] = place
        crops = run(crop, [feature], ends.reshape(1, 1, 1, 4), (2, 2))
        # A subnormal number may count as zero.
        if inside or abs(place) > np.finfo(np.float32).tiny:
            np.testing.assert_array_equal(crops, 3 * float(inside))


@pytest.mark.parametrize("crop", CROPS)
def test_each_box_reads_its_own_image_and_levels_keep_their_order(crop: str) -> None:
    """Every cell of image b on level l is 10 b + l, except for boxes outside."""
    channels = (2, 1, 3)
    features = [
        np.tile(10 * np.arange(4, dtype=np.float32)[:, None, None, None] + level, (1, 5, 7, C))
        for level, C in enumerate(channels)
    ]
    boxes = np.tile(box(0.1, 0.2, 0.9, 0.7), (4, 2, 3, 1))
    boxes[2, 1, 1] += 2  # outside: of one image, one box and one level
    crops = run(crop, features, boxes, (2, 3))
    wanted = 10 * np.arange(4.0)[:, None, None] + np.repeat([0, 1, 2], channels)  # [4, 1, C]
    wanted = np.tile(wanted, (1, 2, 1))
    wanted[2, 1, 2] = 0
    np.testing.assert_array_equal(crops, np.broadcast_to(wanted[:, :, None, None], crops.shape))


@pytest.mark.parametrize("threads", [1, 4])
def test_halves_of_a_large_map_are_its_cells(threads: int) -> None:
    """A map large enough to be shared by threads; its ends are multiples of 1/512."""
    feature = np.random.default_rng(0).standard_normal((2, 513, 1025, 3)).astype(np.float32)
    boxes = np.tile(np.concatenate([box(0, 0, 0.5, 0.5), box(0.5, 0.5, 1, 1)], 1), (2, 1, 1, 1))
    crops = _core.roi_crop([feature], boxes, (257, 513), threads=threads)
    np.testing.assert_array_equal(crops[:, 0], feature[:, :257, :513])
    np.testing.assert_array_equal(crops[:, 1], feature[:, 256:, 512:])
    (gradient,) = _core.roi_crop_grad_features([feature.shape], boxes, crops, threads=threads)
    wanted = np.zeros_like(feature)
    wanted[:, :257, :513] += feature[:, :257, :513]
    wanted[:, 256:, 512:] += feature[:, 256:, 512:]
    np.testing.assert_array_equal(gradient, wanted)


@pytest.mark.parametrize("crop", [roi_crop, roi_crop_keras])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_equal_boxes_add_up(dtype: str, crop: Any) -> None:
    feature, ends = ramp(5, 5, dtype), box(0.125, 0.25, 0.625, 0.75)
    inputs = [tf.constant(feature), tf.constant(np.tile(ends, (1, 7, 1, 1)))]
    with device_of(crop):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            crops = crop(inputs[:1], inputs[1], (2, 2))
        of_feature, of_boxes = (g.numpy() for g in tape.gradient(crops, inputs))
    # Rows 0.5 and 2.5, columns 1 and 3: each sample's weights, seven times.
    wanted = 7 * np.outer([0.5, 0.5, 0.5, 0.5, 0], [0, 1, 0, 1, 0])
    np.testing.assert_array_equal(of_feature[0, :, :, 0], wanted)
    assert np.ptp(of_boxes, axis=1).max() == 0


@pytest.mark.parametrize("crop", [roi_crop, roi_crop_keras])
def test_a_box_on_a_ramp_has_the_gradient_of_the_ramp(crop: Any) -> None:
    """Each end moves its own row (column) of samples by the whole, the far one's by nothing."""
    feature, ends = ramp(9, 17, "float64"), tf.constant(box(0.1, 0.2, 0.6, 0.8))
    with device_of(crop):
        with tf.GradientTape() as tape:
            tape.watch(ends)
            crops = crop([tf.constant(feature)], ends, (3, 2))
        gradient = tape.gradient(crops, ends).numpy()
    # Of 3 × 2 samples, the shares of the start are 1, ½, 0 along y and 1, 0 along x.
    along_y, along_x = ROWS * 8 * 1.5 * 2, COLUMNS * 16 * 1 * 3
    np.testing.assert_allclose(gradient.ravel(), [along_y, along_x, along_y, along_x], rtol=1e-6)


def test_cells_share_all_of_a_sample() -> None:
    """A gradient of ones leaves as much in the map as there are samples inside."""
    for seed in range(20):
        features, boxes, crop_size = draw_case(seed, "float64")
        shapes = [feature.shape for feature in features]
        ones = [np.ones(shape) for shape in shapes]
        inside = _core.roi_crop(ones, boxes, crop_size)
        gradients = _core.roi_crop_grad_features(shapes, boxes, np.ones(inside.shape))
        assert sum(g.sum() for g in gradients) == pytest.approx(inside.sum(), rel=1e-12)
        assert all((g >= 0).all() for g in gradients)


def test_gradients_of_arrays_that_are_not_dense() -> None:
    features, boxes, crop_size = draw_case(1)
    crops = _core.roi_crop(features, boxes, crop_size)
    weights, shapes = draw_weights(crops.shape, crops.dtype), [f.shape for f in features]
    strided = [np.asfortranarray(feature) for feature in features]
    every_second = np.repeat(weights, 2, axis=-1)[..., ::2]
    backwards = np.ascontiguousarray(boxes[:, ::-1])[:, ::-1]
    assert not every_second.flags.c_contiguous
    for actual, wanted in zip(
        [
            *_core.roi_crop_grad_features(shapes, backwards, every_second),
            _core.roi_crop_grad_boxes(strided, backwards, np.asfortranarray(weights)),
        ],
        [
            *_core.roi_crop_grad_features(shapes, boxes, weights),
            _core.roi_crop_grad_boxes(features, boxes, weights),
        ],
        strict=True,
    ):
        np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("box_dtype", [*DTYPES, "int32"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_dtype_of_features_takes_any_dtype_of_boxes(dtype: str, box_dtype: str) -> None:
    """The crops have the features' dtype, the gradient of the boxes that of the boxes."""
    ends = tf.cast(box(0, 1, 1, 0), box_dtype)
    feature = tf.constant(ramp(3, 3, dtype))
    with tf.GradientTape() as tape:
        if ends.dtype.is_floating:
            tape.watch(ends)
        crops = roi_crop([feature], ends, 3)
    assert crops.dtype == dtype
    np.testing.assert_array_equal(crops[0, 0], feature[0, :, ::-1])
    gradient = tape.gradient(crops, ends)
    assert gradient is None if box_dtype == "int32" else gradient.dtype == box_dtype


def test_a_call_is_one_node_of_a_graph() -> None:
    features, boxes, crop_size = draw_case(2)
    traced = tf.function(lambda maps, boxes: roi_crop(maps, boxes, crop_size))
    graph = traced.get_concrete_function([tf.constant(f) for f in features], tf.constant(boxes))
    kinds = [node.op for node in graph.graph.as_graph_def().node]
    assert kinds.count("Cephray>RoiCrop") == 1
    assert not {"CropAndResize", "GatherV2", "Where"} & set(kinds)
    wanted, _ = run_with_gradients(roi_crop, features, boxes, crop_size)
    np.testing.assert_array_equal(traced(features, boxes), wanted)
