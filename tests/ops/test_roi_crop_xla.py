"""The crop and its gradients compiled by XLA, against the plain operations: the same bits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from cephray import _core
from cephray.ops import roi_crop
from cephray.ops.crop import load_operations
from tests.ops.cases import Array, Case, draw_case

DTYPES = ("float16", "bfloat16", "float32", "float64")


def differentiate(features: list[Any], boxes: Any, crop_size: tuple[int, int]) -> list[Any]:
    """Return the crops, the gradients of their squares to the features, and that to the boxes."""
    inputs = [*features, boxes]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        crops = roi_crop(features, boxes, crop_size)
        total = tf.reduce_sum(tf.cast(crops, tf.float64) ** 2)
    return [crops, *tape.gradient(total, inputs)]


def in_dtype(case: Case, dtype: str) -> tuple[list[Any], Any, tuple[int, int]]:
    features, boxes, crop_size = case
    return [tf.cast(feature, dtype) for feature in features], tf.constant(boxes), crop_size


def compiled(function: Callable[..., Any], **options: Any) -> Any:
    return tf.function(function, jit_compile=True, **options)


def assert_same_bits(case: Case, dtype: str) -> None:
    features, boxes, crop_size = in_dtype(case, dtype)
    plain = tf.function(differentiate)(features, boxes, crop_size)
    for value, wanted in zip(
        compiled(differentiate)(features, boxes, crop_size), plain, strict=True
    ):
        assert value.dtype == wanted.dtype
        np.testing.assert_array_equal(value.numpy(), wanted.numpy())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_plain_operation_to_the_bit(seed: int, dtype: str) -> None:
    assert_same_bits(draw_case(seed), dtype)


def test_large_crops_on_many_threads_have_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    features = [rng.standard_normal((4, size, size, 64)).astype("float32") for size in (48, 24)]
    boxes = rng.uniform(-0.2, 1.2, (4, 19, 2, 4)).astype("float32")
    assert_same_bits((features, boxes, (9, 9)), "float32")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_box_that_is_not_finite_gives_zeros(bad: float) -> None:
    features, boxes, crop_size = draw_case(1)
    boxes[0, 0, 0, 2] = bad
    crops, *gradients = compiled(differentiate)(*in_dtype((features, boxes, crop_size), "float32"))
    channels = features[0].shape[-1]
    np.testing.assert_array_equal(crops[0, 0, ..., :channels], 0.0)
    np.testing.assert_array_equal(gradients[-1][0, 0, 0], 0.0)
    assert_same_bits((features, boxes, crop_size), "float32")


def test_each_batch_size_is_compiled_for_itself() -> None:
    spec = [
        tf.TensorSpec((None, 6, 5, 3)),
        tf.TensorSpec((None, 4, 1, 4)),
    ]
    step = compiled(
        lambda feature, boxes: differentiate([feature], boxes, (3, 2)), input_signature=spec
    )
    rng = np.random.default_rng(0)
    for films in (1, 3, 2, 0):
        feature = tf.constant(rng.standard_normal((films, 6, 5, 3)), tf.float32)
        boxes = tf.constant(rng.uniform(-0.5, 1.5, (films, 4, 1, 4)), tf.float32)
        for value, wanted in zip(
            step(feature, boxes), differentiate([feature], boxes, (3, 2)), strict=True
        ):
            np.testing.assert_array_equal(value.numpy(), wanted.numpy())
    assert step.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (((2, 6, 5, 3), (3, 4, 1, 4)), "must have the same batch size"),
        (((2, 6, 5, 3), (2, 4, 2, 4)), "`boxes` must have shape"),
        (((2, 6, 5, 3), (2, 4, 1, 3)), "`boxes` must have shape"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_in_the_same_words(
    shapes: tuple[tuple[int, ...], ...], words: str
) -> None:
    # The graph knows no sizes, so that XLA's kernel must look at them.
    crop = compiled(
        lambda feature, boxes: roi_crop([feature], boxes, 2),
        input_signature=[tf.TensorSpec([None] * 4), tf.TensorSpec([None] * 4)],
    )
    feature, boxes = (tf.zeros(shape) for shape in shapes)
    with pytest.raises(tf.errors.InvalidArgumentError, match=words) as plain:
        roi_crop([feature], boxes, 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match=words) as error:
        crop(feature, boxes)
    line = plain.value.message.split("} ")[-1].split(" [Op:")[0]
    assert line in error.value.message


def test_a_gradient_that_does_not_fit_is_refused() -> None:
    operations = load_operations()

    @compiled
    def gradient(boxes: Any, crops_gradient: Any) -> Any:
        sizes = tf.constant([2, 6, 5, 3], tf.int64)
        return operations.cephray_roi_crop_grad_features(boxes, crops_gradient, [sizes])

    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="crops_gradient"):
        gradient(tf.zeros((2, 4, 1, 4)), tf.zeros((2, 4, 5, 5, 7)))


@pytest.mark.parametrize("before", ["pass", "tf.constant(1.0) + 1", "double(tf.constant(1.0))"])
def test_the_library_may_be_loaded_before_or_after_the_first_operation(before: str) -> None:
    """TensorFlow makes XLA's kernels once; which of ours are there depends on the order."""
    script = f"""
import tensorflow as tf
from cephray.ops.crop import load_operations
double = tf.function(lambda x: 2 * x, jit_compile=True)
{before}
op = load_operations().cephray_roi_crop
crop = lambda x, boxes: op([x], boxes, crop_height=2, crop_width=2)
print(tf.function(crop, jit_compile=True)(tf.ones((1, 3, 3, 1)), tf.zeros((1, 1, 1, 4))).shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "(1, 1, 2, 2, 1)", done.stderr[-2000:]


@pytest.mark.gpu
def test_on_a_gpu_it_is_the_plain_operation() -> None:
    if not _core.build_info()["cuda_architectures"]:
        pytest.skip("built without CUDA (CEPHRAY_CUDA)")
    if not tf.config.list_physical_devices("GPU"):
        pytest.skip("no NVIDIA GPU that TensorFlow can use")
    for dtype in DTYPES:
        for seed in range(8):
            on_gpu: list[list[Array]] = []
            with tf.device("/GPU:0"):
                case = in_dtype(draw_case(seed), dtype)
                for step in (tf.function(differentiate), compiled(differentiate)):
                    on_gpu.append([value.numpy() for value in step(*case)])
            for value, wanted in zip(*on_gpu, strict=True):
                np.testing.assert_array_equal(value, wanted)
