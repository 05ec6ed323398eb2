"""The ROI crop's subjects inside TensorFlow: the operation, crop_and_resize, keras.ops.

Each runs many times inside one tf.function, so that what is timed is the operation as a training
step meets it and not the call from Python; the boxes change from crop to crop, or the graph would
compute the crop once. A subject's turn is long enough that what the last one left in the caches
does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import tensorflow as tf

from cephray.benchmark.roi_crop_cases import Array, Case, draw_boxes
from cephray.benchmark.timing import OURS, Subject
from cephray.ops import roi_crop, roi_crop_keras

Tensor = Any
Crop = Callable[[Sequence[Tensor], Tensor, int], Tensor]

BOX_SETS = 8
SECONDS_PER_TURN = 0.1


def crop_and_resize(features: Sequence[Tensor], boxes: Tensor, crop_size: int) -> Tensor:
    """TensorFlow's own composition: one crop_and_resize for each level, then concat.

    It takes no bfloat16 and gives float32 always, so other types are cast there and back.
    """
    dtype = features[0].dtype
    features = [tf.cast(feature, tf.float32) for feature in features]
    B, K = boxes.shape[:2]
    images = tf.repeat(tf.range(B), K)
    levels = [
        tf.image.crop_and_resize(
            feature, tf.reshape(boxes[:, :, level], (-1, 4)), images, (crop_size, crop_size)
        )
        for level, feature in enumerate(features)
    ]
    crops = tf.cast(tf.concat(levels, -1), dtype)
    return tf.reshape(crops, (B, K, *crops.shape[1:]))


CROPS: dict[str, Crop] = {
    OURS: roi_crop,
    "tensorflow": crop_and_resize,
    "keras.ops": lambda features, boxes, size: roi_crop_keras(features, boxes, (size, size)),
}


def on_cpu() -> AbstractContextManager[None]:
    """Make tensors and graphs on the CPU, which is what is timed, also where there is a GPU."""
    return tf.device("/CPU:0")  # type: ignore[no-any-return]


class Inputs:
    """The tensors of a case."""

    def __init__(self, case: Case, rng: np.random.Generator) -> None:
        self.case = case
        self.boxes = tf.constant(np.stack([draw_boxes(case, rng) for _ in range(BOX_SETS)]))
        self.features = [_normal(shape, case, rng) for shape in case.feature_shapes]
        self.weights = _normal(case.crops_shape, case, rng)


def _normal(shape: Sequence[int], case: Case, rng: np.random.Generator) -> Tensor:
    return tf.random.stateless_normal(shape, rng.integers(0, 2**31, 2), dtype=case.dtype)


def results(crop: Crop, inputs: Inputs, boxes: Tensor, direction: str) -> list[Tensor]:
    """The crops ("forward"), or the gradients of the features alone ("backward")."""
    if direction == "forward":
        return [crop(inputs.features, boxes, inputs.case.crop_size)]
    with tf.GradientTape() as tape:
        tape.watch(inputs.features)
        crops = crop(inputs.features, boxes, inputs.case.crop_size)
    gradients = tape.gradient(crops, inputs.features, tf.cast(inputs.weights, crops.dtype))
    return [tf.convert_to_tensor(gradient) for gradient in gradients]


def subject(crop: Crop, inputs: Inputs, direction: str) -> Subject:
    """Return what times one crop, or one gradient of it, of these inputs.

    Raises:
        RuntimeError: TensorFlow has no kernel for the case, or not enough memory.
    """
    # A turn of the loop costs as much as half a crop of one film: it makes several, one by one,
    # where they do not take long.
    box_sets = tf.unstack(inputs.boxes)[: max(1, 64 // inputs.case.batch)]

    def turn(i: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        for boxes in box_sets:
            with tf.control_dependencies([total]):
                boxes = tf.identity(boxes)
            for result in results(crop, inputs, boxes, direction):
                # One value of each: nothing may be left out, and nothing more is to be done.
                total += tf.cast(result[(0,) * result.shape.rank], tf.float32)
        return i + 1, total

    @tf.function
    def repeat(count: Tensor) -> Tensor:
        start = (tf.constant(0), tf.constant(0.0))
        return tf.while_loop(lambda i, _: i < count, turn, start, parallel_iterations=1)[1]

    def run(count: int) -> float:
        begin = time.perf_counter()
        repeat(tf.constant(count)).numpy()
        return (time.perf_counter() - begin) / (count * len(box_sets))

    try:
        run(1)
        once_s = run(1)
    except (tf.errors.ResourceExhaustedError, tf.errors.UnimplementedError) as error:
        raise RuntimeError(error.message) from error
    repeats = int(np.clip(SECONDS_PER_TURN / len(box_sets) / once_s, 1, 1000))
    return lambda: run(repeats)


def check(case: Case, rng: np.random.Generator) -> None:
    """Compare the operation on one film with crop_and_resize, in float32.

    Raises:
        AssertionError: they differ by more than rounding.
    """
    inputs = Inputs(case, rng)
    features = [tf.cast(feature, tf.float32) for feature in inputs.features]
    weights = tf.cast(inputs.weights, tf.float32)
    size = case.crop_size
    for direction in ("forward", "backward"):
        ours = results(CROPS[OURS], inputs, inputs.boxes[0], direction)
        if direction == "forward":
            wanted = [crop_and_resize(features, inputs.boxes[0], size)]
        else:
            # One landmark at a time: TensorFlow loses additions where boxes overlap.
            wanted = [tf.zeros_like(feature) for feature in features]
            for k in range(case.landmarks):
                boxes = inputs.boxes[0, :, k : k + 1]
                with tf.GradientTape() as tape:
                    tape.watch(features)
                    crops = crop_and_resize(features, boxes, size)
                parts = tape.gradient(crops, features, weights[:, k : k + 1])
                wanted = [total + part for total, part in zip(wanted, parts, strict=True)]
        for actual, expected in zip(ours, wanted, strict=True):
            _require_close(actual, expected, case, direction)


def check_batch(inputs: Inputs) -> None:
    """Check that the first and the last film of a batch give the bits that each gives alone."""
    for b in {0, inputs.case.batch - 1}:
        alone = CROPS[OURS](
            [feature[b : b + 1] for feature in inputs.features],
            inputs.boxes[0, b : b + 1],
            inputs.case.crop_size,
        )
        together = CROPS[OURS](inputs.features, inputs.boxes[0], inputs.case.crop_size)
        if not bool(tf.reduce_all(tf.equal(alone[0], together[b]))):
            raise AssertionError(f"{inputs.case}: film {b} of the batch differs from itself alone")


def _require_close(actual: Tensor, wanted: Tensor, case: Case, direction: str) -> None:
    exact: Array = wanted.numpy()
    error = np.abs(tf.cast(actual, tf.float32).numpy() - exact)
    unit = 2.0**-8 if case.dtype == "bfloat16" else 1e-6
    if not (error <= unit * np.abs(exact) + 1e-5 * np.abs(exact).max()).all():
        raise AssertionError(f"{case}, {direction}: off crop_and_resize by {error.max():.3g}")
