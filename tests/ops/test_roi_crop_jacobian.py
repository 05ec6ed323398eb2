"""Every entry of the crop's Jacobian, on maps of a few cells and boxes that leave them.

While one end of a box moves, a sample changes linearly until it reaches the next cell's centre.
Boxes are drawn so that no sample reaches one within a step: a central difference is then exact.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from cephray import _core
from cephray.ops import roi_crop
from tests.ops.cases import Array, assert_close

STEP = 2.0**-9
SIZES = list(itertools.product((1, 2, 4), (1, 2, 3), ((1, 2), (1, 3), (2, 1), (2, 3))))


def places(start: Array, end: Array, samples: int, cells: int) -> Array:
    """Coordinates of the samples along one axis, float64."""
    share = np.arange(samples) / (samples - 1) if samples > 1 else np.array([0.5])
    return np.asarray((start + (end - start) * share) * (cells - 1))


def draw_ends(rng: np.random.Generator, samples: int, cells: int) -> tuple[float, float]:
    """Draw two ends between -1/2 and 3/2 whose samples keep two steps from any cell's centre."""
    while True:
        start, end = rng.integers(-511, 1536, 2) / 1024
        to_cell = places(start, end, samples, cells)
        clear = np.abs(to_cell - np.round(to_cell)) > 2 * STEP * (cells - 1)
        if cells == 1 or clear.all():  # on a single cell all samples lie at its centre
            return float(start), float(end)


def draw_case(
    height: int, width: int, crop_size: tuple[int, int], seed: int
) -> tuple[Array, Array]:
    rng = np.random.default_rng([seed, height, width, *crop_size])
    boxes = np.empty((2, 2, 1, 4), np.float32)
    for b, k in np.ndindex(2, 2):
        y1, y2 = draw_ends(rng, crop_size[0], height)
        x1, x2 = draw_ends(rng, crop_size[1], width)
        boxes[b, k, 0] = y1, x1, y2, x2
    return rng.standard_normal((2, height, width, 2)), boxes


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("height", "width", "crop_size"), SIZES)
def test_jacobian_of_the_boxes(
    height: int, width: int, crop_size: tuple[int, int], seed: int
) -> None:
    feature, boxes = draw_case(height, width, crop_size, seed)
    shape = _core.roi_crop([feature], boxes, crop_size).shape
    numeric = np.empty((*shape, 4))  # how a value changes with the ends of its own box
    for end in range(4):
        change = np.eye(4, dtype=np.float32)[end] * np.float32(STEP)
        ahead = _core.roi_crop([feature], boxes + change, crop_size)
        behind = _core.roi_crop([feature], boxes - change, crop_size)
        numeric[..., end] = (ahead - behind) / (2 * STEP)
    for y, x, c in np.ndindex(*shape[2:]):
        one = np.zeros(shape)
        one[:, :, y, x, c] = 1
        analytic = _core.roi_crop_grad_boxes([feature], boxes, one)  # [B, K, 1, 4]
        np.testing.assert_allclose(analytic[:, :, 0], numeric[:, :, y, x, c], atol=2e-4)


@pytest.mark.parametrize(("height", "width", "crop_size"), SIZES)
def test_jacobian_of_the_features(height: int, width: int, crop_size: tuple[int, int]) -> None:
    """The crop is linear: its matrix is that of the crops of unit maps, and does not depend on
    the values of the map."""
    feature, boxes = draw_case(height, width, crop_size, 0)
    feature, boxes = feature[:1], boxes[:1]
    shape = _core.roi_crop([feature], boxes, crop_size).shape
    units = np.eye(feature.size).reshape(-1, *feature.shape)
    forward = np.array([_core.roi_crop([unit], boxes, crop_size).ravel() for unit in units])
    ones = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    backward = np.array(
        [_core.roi_crop_grad_features([feature.shape], boxes, one)[0].ravel() for one in ones]
    )
    np.testing.assert_allclose(backward.T, forward, atol=1e-15)
    crops = _core.roi_crop([feature], boxes, crop_size).ravel()
    np.testing.assert_allclose(feature.ravel() @ forward, crops, atol=1e-14)


def test_jacobian_of_the_operation() -> None:
    """What a tape finds, box by box, is what the bindings give; no box touches another's."""
    feature, boxes = draw_case(4, 3, (2, 3), 0)
    feature = feature.astype(np.float32)  # as the boxes: tape.jacobian takes one dtype
    inputs = tf.constant(feature), tf.constant(boxes)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        crops = roi_crop([inputs[0]], inputs[1], (2, 3))
    of_boxes = tape.jacobian(crops, inputs[1], experimental_use_pfor=False).numpy()
    of_feature = tape.jacobian(crops, inputs[0], experimental_use_pfor=False).numpy()
    for b, k in np.ndindex(2, 2):
        for other_b, other_k in np.ndindex(2, 2):
            if (b, k) != (other_b, other_k):
                assert not of_boxes[b, k, ..., other_b, other_k, 0, :].any()
        assert not of_feature[b, ..., 1 - b, :, :, :].any()
    assert of_boxes.any()
    assert of_feature.any()
    for y, x, c in np.ndindex(2, 3, 2):
        one = np.zeros(crops.shape, np.float32)
        one[:, :, y, x, c] = 1
        wanted = _core.roi_crop_grad_boxes([feature], boxes, one)
        for b, k in np.ndindex(2, 2):
            assert_close(of_boxes[b, k, y, x, c, b, k], wanted[b, k], 1e-5)
