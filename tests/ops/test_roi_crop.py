"""The crop and its gradients against crop_and_resize, NumPy loops and their own properties."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from cephray import _core
from cephray.ops import roi_crop
from cephray.ops.reference import roi_crop_keras
from tests.devices import on_cpu
from tests.ops.cases import Array, assert_close, draw_case, draw_weights, run_with_gradients
from tests.ops.loops import roi_crop_numpy, roi_crop_numpy_gradients


def crop_and_resize(
    features: list[tf.Tensor], boxes: tf.Tensor, crop_size: tuple[int, int]
) -> tf.Tensor:
    """TensorFlow's own operation, one box of each image at a time.

    Its feature gradient loses additions where two threads add to one cell of an image.
    """
    images = tf.range(boxes.shape[0])

    def crop(k: int) -> tf.Tensor:
        levels = [
            tf.image.crop_and_resize(feature, boxes[:, k, i], images, crop_size)
            for i, feature in enumerate(features)
        ]
        return tf.concat(levels, -1)

    return tf.stack([crop(k) for k in range(boxes.shape[1])], 1)


@pytest.mark.parametrize("block", range(10))
def test_equals_crop_and_resize_on_500_cases(block: int) -> None:
    for seed in range(50 * block, 50 * (block + 1)):
        case = draw_case(seed)
        crops, gradients = run_with_gradients(roi_crop, *case)
        with on_cpu():
            wanted, wanted_gradients = run_with_gradients(crop_and_resize, *case)
        np.testing.assert_array_equal(crops, wanted)
        for actual, gradient in zip(gradients, wanted_gradients, strict=True):
            assert_close(actual, gradient, 1e-5)


@pytest.mark.parametrize("seed", range(40))
def test_equals_numpy_loops_in_float64(seed: int) -> None:
    features, boxes, crop_size = draw_case(seed, "float64")
    crops, gradients = run_with_gradients(roi_crop, features, boxes, crop_size)
    assert_close(crops, roi_crop_numpy(features, boxes, crop_size), 1e-12)
    weights = draw_weights(crops.shape, crops.dtype)
    of_features, of_boxes = roi_crop_numpy_gradients(features, boxes, weights)
    for actual, wanted in zip(gradients[:-1], of_features, strict=True):
        assert_close(actual, wanted, 1e-12)
    assert_close(gradients[-1], of_boxes, 1e-6)


@pytest.mark.parametrize("seed", range(40))
def test_keras_composition_equals(seed: int) -> None:
    features, boxes, crop_size = draw_case(seed)
    # A sample within one rounding of a cell's centre may take either side's slope.
    boxes[(boxes == 0) | (boxes == 1)] += 0.01
    crops, gradients = run_with_gradients(roi_crop, features, boxes, crop_size)
    with on_cpu():
        same_crops, same_gradients = run_with_gradients(roi_crop_keras, features, boxes, crop_size)
    np.testing.assert_array_equal(same_crops, crops)
    for actual, wanted in zip(same_gradients, gradients, strict=True):
        assert_close(actual, wanted, 1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), ("bfloat16", 8e-3)])
def test_half_types_round_once(dtype: str, tolerance: float) -> None:
    for seed in range(10):
        features, boxes, crop_size = draw_case(seed)
        short = [tf.cast(feature, dtype).numpy() for feature in features]
        exact = [feature.astype(np.float64) for feature in short]
        crops, gradients = run_with_gradients(roi_crop, short, boxes, crop_size)
        assert crops.dtype == short[0].dtype
        assert_close(crops, roi_crop_numpy(exact, boxes, crop_size), tolerance)
        weights = draw_weights(crops.shape, crops.dtype)
        of_features, of_boxes = roi_crop_numpy_gradients(exact, boxes, weights)
        for actual, wanted in zip(gradients[:-1], of_features, strict=True):
            assert actual.dtype == short[0].dtype
            assert_close(actual, wanted, tolerance)
        assert_close(gradients[-1], of_boxes, 1e-5)


def test_float16_conversions_equal_numpy() -> None:
    """Every float16 passes through unchanged; the midpoints round as NumPy rounds them."""
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    every = every[np.isfinite(every)]
    centre = np.full((1, 1, 1, 4), 0.5, np.float32)
    crops = _core.roi_crop([every.reshape(1, 1, 1, -1)], centre, (1, 1))
    np.testing.assert_array_equal(crops.ravel(), every)
    pairs = np.stack([every[:-1], every[1:]]).reshape(1, 1, 2, -1)
    crops = _core.roi_crop([pairs], centre, (1, 1))
    wide = pairs[0, 0].astype(np.float32)
    wanted = (wide[0] + (wide[1] - wide[0]) * np.float32(0.5)).astype(np.float16)
    np.testing.assert_array_equal(crops.ravel(), wanted)


def test_linear_ramp_is_reproduced_exactly() -> None:
    """On 2 y + 3 x + 1 the crop is that function of the sample's position."""
    y, x = np.mgrid[:9, :17].astype(np.float32)
    box = np.array([0.25, 0.125, 0.75, 0.625], np.float32)
    crops = roi_crop([(2 * y + 3 * x + 1)[None, ..., None]], box.reshape(1, 1, 1, 4), 5).numpy()
    at_y, at_x = np.meshgrid(np.linspace(2, 6, 5), np.linspace(2, 10, 5), indexing="ij")
    np.testing.assert_array_equal(crops[0, 0, :, :, 0], 2 * at_y + 3 * at_x + 1)


seeds = st.integers(1_000, 1_000_000)


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_feature_gradient_is_the_adjoint(seed: int) -> None:
    features, boxes, crop_size = draw_case(seed, "float64")
    crops = _core.roi_crop(features, boxes, crop_size)
    weights = draw_weights(crops.shape, crops.dtype, seed)
    adjoint = _core.roi_crop_grad_features([f.shape for f in features], boxes, weights)
    left = np.vdot(crops, weights)
    right = sum(np.vdot(f, a) for f, a in zip(features, adjoint, strict=True))
    assert left == pytest.approx(right, rel=1e-11, abs=1e-10)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, scale=st.floats(-4, 4))
def test_crop_is_linear(seed: int, scale: float) -> None:
    features, boxes, crop_size = draw_case(seed, "float64")
    others = [draw_weights(feature.shape, feature.dtype, seed) for feature in features]
    mixed = [f + scale * o for f, o in zip(features, others, strict=True)]
    wanted = _core.roi_crop(features, boxes, crop_size)
    wanted = wanted + scale * _core.roi_crop(others, boxes, crop_size)
    assert_close(_core.roi_crop(mixed, boxes, crop_size), wanted, 1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_crop_of_a_shifted_map_is_the_crop(seed: int) -> None:
    """Sizes are powers of two plus one and boxes multiples of 1/64: no coordinate is rounded."""
    rng = np.random.default_rng(seed)
    feature = np.zeros((1, 33, 33, 3))
    feature[:, 8:17, 8:17] = rng.standard_normal((1, 9, 9, 3))
    shift = rng.integers(-8, 9, 2)
    start = rng.integers(16, 24, 2)
    box = np.concatenate([start, start + rng.integers(1, 9, 2)]) / 64
    moved = box + np.tile(shift, 2) / 32
    shifted = np.roll(feature, shift, (1, 2))
    np.testing.assert_array_equal(
        _core.roi_crop([shifted], moved.reshape(1, 1, 1, 4), (3, 3)),
        _core.roi_crop([feature], box.reshape(1, 1, 1, 4), (3, 3)),
    )


@pytest.mark.parametrize("crop_size", [(1, 1), (1, 5), (3, 1), (3, 5), (5, 9)])
def test_box_gradient_equals_finite_differences(crop_size: tuple[int, int]) -> None:
    """The maps, the boxes and the step are such that float32 holds every coordinate exactly."""
    rng = np.random.default_rng(0)
    features = [rng.standard_normal((2, 17, 33, 5)), rng.standard_normal((2, 9, 9, 3))]
    # Odd multiples of 1/1024, so that no sample lies on a cell's centre.
    low = rng.integers(0, 200, (2, 4, 2, 2)) * 2 + 1
    boxes = (np.concatenate([low, low + 300 + 2 * rng.integers(0, 40, low.shape)], -1)) / 1024
    step = 2.0**-13
    weights = draw_weights((2, 4, *crop_size, 8), np.float64)
    gradient = _core.roi_crop_grad_boxes(features, boxes, weights)
    for j in range(4):
        change = np.zeros(4)
        change[j] = step
        ahead = _core.roi_crop(features, boxes + change, crop_size)
        behind = _core.roi_crop(features, boxes - change, crop_size)
        slopes = (weights * (ahead - behind) / (2 * step)).sum((2, 3))
        wanted = np.stack([slopes[..., :5].sum(-1), slopes[..., 5:].sum(-1)], -1)  # [B, K, L]
        assert_close(gradient[..., j], wanted, 1e-6)


def test_feature_gradient_equals_finite_differences() -> None:
    features, boxes, crop_size = draw_case(3, "float64")
    weights = draw_weights((*boxes.shape[:2], *crop_size, sum(f.shape[3] for f in features)), "f8")
    gradients = _core.roi_crop_grad_features([f.shape for f in features], boxes, weights)
    rng = np.random.default_rng(0)
    for level, gradient in enumerate(gradients):
        direction = rng.standard_normal(gradient.shape)
        ahead = [f + 0.5 * direction * (i == level) for i, f in enumerate(features)]
        behind = [f - 0.5 * direction * (i == level) for i, f in enumerate(features)]
        slope = np.vdot(
            _core.roi_crop(ahead, boxes, crop_size) - _core.roi_crop(behind, boxes, crop_size),
            weights,
        )
        assert np.vdot(gradient, direction) == pytest.approx(slope, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_bfloat16_is_within_one_rounding_of_float64(seed: int) -> None:
    """Half a unit in the last of 8 bits, and what float32 loses before it."""
    features, boxes, crop_size = draw_case(seed)
    short = [tf.cast(feature, "bfloat16").numpy() for feature in features]
    exact = [feature.astype(np.float64) for feature in short]

    def assert_rounded(actual: Array, wanted: Array) -> None:
        scale = np.abs(wanted).max(initial=0)
        error = np.abs(actual.astype(np.float64) - wanted)
        assert (error <= 2.0**-8 * np.abs(wanted) + 1e-5 * scale).all()

    crops = _core.roi_crop(short, boxes, crop_size)
    assert_rounded(crops, roi_crop_numpy(exact, boxes, crop_size))
    weights = draw_weights(crops.shape, crops.dtype)
    of_features, _ = roi_crop_numpy_gradients(exact, boxes, weights)
    shapes = [feature.shape for feature in features]
    for actual, wanted in zip(
        _core.roi_crop_grad_features(shapes, boxes, weights), of_features, strict=True
    ):
        assert_rounded(actual, wanted)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_threads_change_no_bit(dtype: str) -> None:
    for seed in range(20):
        features, boxes, crop_size = draw_case(seed)
        features = [tf.cast(feature, dtype).numpy() for feature in features]
        crops = _core.roi_crop(features, boxes, crop_size)
        weights = draw_weights(crops.shape, crops.dtype)
        shapes = [feature.shape for feature in features]
        one = _core.roi_crop_grad_features(shapes, boxes, weights)
        box_gradient = _core.roi_crop_grad_boxes(features, boxes, weights)
        for threads in (2, 3, 4, 64):
            same = _core.roi_crop(features, boxes, crop_size, threads=threads)
            assert crops.tobytes() == same.tobytes()
            many = _core.roi_crop_grad_features(shapes, boxes, weights, threads=threads)
            assert [g.tobytes() for g in one] == [g.tobytes() for g in many]
            same = _core.roi_crop_grad_boxes(features, boxes, weights, threads=threads)
            assert box_gradient.tobytes() == same.tobytes()


def test_operation_repeats_and_equals_the_bindings_bit_for_bit() -> None:
    """On a GPU too, but for the gradient of the boxes, which it adds up in another order."""
    rng = np.random.default_rng(0)
    features = [rng.standard_normal((4, s, s, 64)).astype(np.float32) for s in (40, 20)]
    boxes = rng.uniform(-0.1, 1.1, (4, 60, 2, 4)).astype(np.float32)
    crops, gradients = run_with_gradients(roi_crop, features, boxes, (5, 5))
    again, same = run_with_gradients(roi_crop, features, boxes, (5, 5))
    with on_cpu():
        crops_on_cpu, gradients_on_cpu = run_with_gradients(roi_crop, features, boxes, (5, 5))
    weights = draw_weights(crops.shape, crops.dtype)
    bare = _core.roi_crop_grad_features([f.shape for f in features], boxes, weights)
    bare.append(_core.roi_crop_grad_boxes(features, boxes, weights))
    bare_crops = _core.roi_crop(features, boxes, (5, 5))
    assert crops.tobytes() == again.tobytes()
    assert [g.tobytes() for g in gradients] == [g.tobytes() for g in same]
    assert crops.tobytes() == crops_on_cpu.tobytes() == bare_crops.tobytes()
    assert [g.tobytes() for g in gradients_on_cpu] == [g.tobytes() for g in bare]
    assert [g.tobytes() for g in gradients[:-1]] == [g.tobytes() for g in bare[:-1]]
    assert_close(gradients[-1], bare[-1], 1e-5)


@pytest.mark.parametrize("channels", [64, 63])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_large_results_equal_small_ones(dtype: str, channels: int) -> None:
    """Results too large for the caches may be stored in another way."""
    rng = np.random.default_rng(0)
    batch = 6
    features = [
        tf.cast(rng.standard_normal((batch, size, size, channels)), dtype) for size in (210, 55)
    ]
    boxes = tf.constant(rng.uniform(-0.1, 1.1, (batch, 1465, 2, 4)), tf.float32)
    weights = tf.cast(rng.standard_normal((batch, 1465, 4, 4, 2 * channels)), dtype)

    def crop_and_gradients(films: slice) -> list[Array]:
        some = [feature[films] for feature in features]
        with tf.GradientTape() as tape:
            tape.watch(some)
            crops = roi_crop(some, boxes[films], 4)
        return [crops.numpy(), *(g.numpy() for g in tape.gradient(crops, some, weights[films]))]

    together = crop_and_gradients(slice(None))
    assert together[0].nbytes > 32 << 20
    assert sum(gradient.nbytes for gradient in together[1:]) > 32 << 20
    for film in range(batch):
        alone = crop_and_gradients(slice(film, film + 1))
        assert max(alone[0].nbytes, sum(gradient.nbytes for gradient in alone[1:])) < 32 << 20
        for part, whole in zip(alone, together, strict=True):
            assert part[0].tobytes() == whole[film].tobytes()


def digest_of_results() -> str:
    rng = np.random.default_rng(0)
    maps = [rng.standard_normal((3, s, s, 64)).astype(np.float32) for s in (40, 20)]
    boxes = rng.uniform(-0.1, 1.1, (3, 60, 2, 4)).astype(np.float32)
    crops, gradients = run_with_gradients(roi_crop, maps, boxes, (5, 5))
    return hashlib.sha256(b"".join(a.tobytes() for a in [crops, *gradients])).hexdigest()


def test_threads_of_tensorflow_change_no_bit() -> None:
    """One, four, and as many as this process has."""
    script = (
        "import sys; import tensorflow as tf;"
        "tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]));"
        "from tests.devices import hide_gpus;"
        "hide_gpus();"
        "from tests.ops.test_roi_crop import digest_of_results;"
        "print(digest_of_results())"
    )
    digests = [
        subprocess.run(
            [sys.executable, "-c", script, str(threads)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout.strip()
        for threads in (1, 4)
    ]
    with on_cpu():
        here = digest_of_results()
    assert len(here) == 64
    assert digests == [here, here]
