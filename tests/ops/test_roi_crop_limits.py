"""The crop at its limits: infinite boxes, empty axes, unknown shapes; the words of its errors."""

from __future__ import annotations

import importlib
import re
from typing import Any
from unittest.mock import Mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from cephray import _core
from cephray.ops import roi_crop
from cephray.ops.library import check_tensorflow_version
from cephray.ops.reference import roi_crop_keras
from tests.devices import device_of
from tests.ops.cases import Array, draw_case, run_with_gradients

# `cephray.ops.roi_crop` is the function.
module = importlib.import_module("cephray.ops.crop")


@pytest.mark.parametrize("crop", [roi_crop, roi_crop_keras])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("crop_size", [(1, 1), (3, 4)])
def test_a_box_that_is_not_finite_is_zero_and_disturbs_nothing(
    crop: Any, bad: float, crop_size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    features = [rng.standard_normal((1, size, size, 3)).astype(np.float32) for size in (1, 6)]
    boxes = np.sort(rng.uniform(0, 1, (1, 6, 2, 2, 2)), axis=3).reshape(1, 6, 2, 4)
    boxes = boxes.astype(np.float32)
    good = [0, 5]
    for coordinate in range(4):
        boxes[0, 1 + coordinate, :, coordinate] = bad
    with device_of(crop):
        crops, gradients = run_with_gradients(crop, features, boxes, crop_size)
    assert not crops[:, 1:5].any()
    assert not gradients[-1][:, 1:5].any()

    def crop_good(features: Any, boxes: Any, size: tuple[int, int]) -> Any:
        crops = crop(features, boxes, size)
        return tf.pad(crops, [[0, 0], [0, 4], [0, 0], [0, 0], [0, 0]])

    # The weights are those of the boxes' places, so that the good boxes keep theirs.
    order = [0, 5, 1, 2, 3, 4]
    with device_of(crop):
        with_bad, gradients = run_with_gradients(crop, features, boxes[:, order], crop_size)
        alone, wanted = run_with_gradients(crop_good, features, boxes[:, good], crop_size)
    np.testing.assert_array_equal(with_bad, alone)
    np.testing.assert_array_equal(gradients[-1][:, :2], wanted[-1])
    for actual, gradient in zip(gradients[:-1], wanted[:-1], strict=True):
        np.testing.assert_array_equal(actual, gradient)


@pytest.mark.parametrize("crop", [roi_crop, roi_crop_keras])
def test_huge_finite_boxes_are_outside(crop: Any) -> None:
    features = [np.ones((1, 5, 5, 2), np.float32)]
    boxes = np.array([[3e38, -3e38, -3e38, 3e38], [1e30, 0, 1e30, 1], [0, 3e38, 1, 3e38]], "f4")
    with device_of(crop):
        crops, gradients = run_with_gradients(crop, features, boxes.reshape(1, 3, 1, 4), (2, 3))
    assert not crops.any()
    assert not any(gradient.any() for gradient in gradients)


def test_a_cell_of_weight_zero_may_be_infinite() -> None:
    feature = np.full((1, 3, 3, 1), np.inf, np.float32)
    feature[0, 1, 1] = 2
    centre = np.full((1, 1, 1, 4), 0.5, np.float32)
    np.testing.assert_array_equal(roi_crop([feature], centre, 1).numpy().ravel(), [2])


@pytest.mark.parametrize("crop", [roi_crop, roi_crop_keras])
@pytest.mark.parametrize(
    ("B", "K", "channels"),
    [(0, 3, (4, 2)), (2, 0, (4, 2)), (2, 3, (0, 2)), (2, 3, (0, 0)), (0, 0, (0, 0))],
)
def test_empty_axes(crop: Any, B: int, K: int, channels: tuple[int, int]) -> None:
    features = [np.ones((B, 5, 6, C), np.float32) for C in channels]
    boxes = np.tile(np.array([0.1, 0.1, 0.8, 0.9], np.float32), (B, K, 2, 1))
    with device_of(crop):
        crops, gradients = run_with_gradients(crop, features, boxes, (2, 3))
    assert crops.shape == (B, K, 2, 3, sum(channels))
    assert [g.shape for g in gradients] == [*(f.shape for f in features), boxes.shape]
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize(
    ("feature_shapes", "boxes_shape", "wanted"),
    [
        ([(None, 6, 7, 3), (None, 3, 4, 5)], (None, 4, 2, 4), (None, 4, 2, 3, 8)),
        ([(2, 6, 7, 3), (None, None, None, 5)], (None, None, 2, 4), (2, None, 2, 3, 8)),
        ([(None, 6, 7, 3), (None, 3, 4, None)], (2, 4, None, None), (2, 4, 2, 3, None)),
        ([None, None], None, (None, None, 2, 3, None)),
    ],
)
def test_shapes_are_inferred_and_unknown_ones_work(
    feature_shapes: list[Any], boxes_shape: Any, wanted: Any
) -> None:
    signature = [
        [tf.TensorSpec(shape, tf.float32) for shape in feature_shapes],
        tf.TensorSpec(boxes_shape, tf.float32),
    ]

    def run(features: list[tf.Tensor], boxes: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([*features, boxes])
            crops = roi_crop(features, boxes, (2, 3))
        assert crops.shape.as_list() == list(wanted)
        gradients = tape.gradient(crops, [*features, boxes])
        for gradient, feature in zip(gradients[:-1], features, strict=True):
            assert gradient.shape.rank in (4, None)
            if feature.shape.rank == 4 and feature.shape[3] is not None:
                assert gradient.shape[3] == feature.shape[3]
        return crops, gradients

    rng = np.random.default_rng(0)
    features = [rng.standard_normal(s).astype(np.float32) for s in ((2, 6, 7, 3), (2, 3, 4, 5))]
    boxes = rng.uniform(0, 1, (2, 4, 2, 4)).astype(np.float32)
    run_graph = tf.function(run, input_signature=signature)
    crops, gradients = run_graph([tf.constant(f) for f in features], tf.constant(boxes))
    np.testing.assert_array_equal(crops, _core.roi_crop(features, boxes, (2, 3)))
    ones = np.ones(crops.shape, np.float32)
    bare = _core.roi_crop_grad_features([f.shape for f in features], boxes, ones)
    for gradient, plain in zip(gradients[:-1], bare, strict=True):
        np.testing.assert_array_equal(gradient, plain)


def test_tape_computes_only_wanted_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    operations = Mock(wraps=module.load_operations())
    monkeypatch.setattr(module, "load_operations", lambda: operations)
    features, boxes = [tf.ones((1, 4, 4, 2))], tf.constant([[[[0.0, 0.0, 1.0, 1.0]]]])
    for wanted, unwanted in ((features[0], "boxes"), (boxes, "features")):
        operations.reset_mock()
        with tf.GradientTape() as tape:
            tape.watch(wanted)
            crops = roi_crop(features, boxes, 2)
        assert tape.gradient(crops, wanted) is not None
        assert not getattr(operations, f"cephray_roi_crop_grad_{unwanted}").called


def test_graph_computes_only_wanted_gradients() -> None:
    features = [tf.ones((1, 4, 4, 2))]
    boxes = tf.constant([[[[0.0, 0.0, 1.0, 1.0]]]])

    def run() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(features)
            crops = roi_crop(features, boxes, 2)
        return tape.gradient(crops, features)

    function = tf.function(run).get_concrete_function()
    needed = tf.compat.v1.graph_util.extract_sub_graph(
        function.graph.as_graph_def(), [output.op.name for output in function.outputs]
    )
    kinds = {node.op for node in needed.node if node.op.startswith("Cephray")}
    assert kinds == {"Cephray>RoiCropGradFeatures"}


def ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("features", "boxes", "crop_size", "words"),
    [
        (
            [ones(2, 5, 5)], ones(2, 3, 1, 4), 2,
            "`features[0]` must have shape [B, H, W, C]; got [2, 5, 5].",
        ),
        (
            [ones(2, 5, 5, 1)], ones(2, 3, 5), 2,
            "`boxes` must have shape [B, K, L, 4]; got [2, 3, 5].",
        ),
        (
            [ones(2, 5, 5, 1)], ones(2, 3, 1, 5), 2,
            "[B, K, L, 4], where L = 1 is the number of features; got [2, 3, 1, 5].",
        ),
        (
            [ones(2, 5, 5, 1)], ones(2, 3, 2, 4), 2,
            "[B, K, L, 4], where L = 1 is the number of features; got [2, 3, 2, 4].",
        ),
        (
            [ones(2, 5, 5, 1)], ones(3, 3, 1, 4), 2,
            "`features[0]` and `boxes` must have the same batch size B; "
            "got [2, 5, 5, 1] and [3, 3, 1, 4].",
        ),
        (
            [ones(2, 5, 5, 1), ones(1, 5, 5, 1)], ones(2, 3, 2, 4), 2,
            "`features[1]` and `boxes` must have the same batch size B; "
            "got [1, 5, 5, 1] and [2, 3, 2, 4].",
        ),
        (
            [ones(2, 0, 5, 1)], ones(2, 3, 1, 4), 2,
            "`features[0]` must have a height and a width of at least 1; got [2, 0, 5, 1].",
        ),
        (
            [ones(1, 1, 1, 8)], ones(1, 1, 1, 4), (2**31, 2**31),
            "would have shape [1, 1, 2147483648, 2147483648, 8], more elements than a 64-bit",
        ),
    ],
)  # fmt: skip
def test_wrong_shapes_are_refused_in_words(
    features: list[Array], boxes: Array, crop_size: Any, words: str
) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(words)):  # the kernel
        roi_crop(features, boxes, crop_size)
    with pytest.raises(ValueError, match=re.escape(words)):  # the shape function
        tf.function(lambda: roi_crop(features, boxes, crop_size))()
    size = (crop_size, crop_size) if isinstance(crop_size, int) else crop_size
    with pytest.raises(ValueError, match=re.escape(words)):  # the bindings
        _core.roi_crop(features, boxes, size)


def test_wrong_gradient_shapes_are_refused_in_words() -> None:
    words = r"must have the shape of the crops, \[1, 1, 2, 2, 3\]; got \[1, 1, 2, 2, 4\]"
    feature, box = ones(1, 5, 5, 3), ones(1, 1, 1, 4)
    with pytest.raises(ValueError, match=words):
        _core.roi_crop_grad_boxes([feature], box, ones(1, 1, 2, 2, 4))
    with pytest.raises(ValueError, match=words):
        _core.roi_crop_grad_features([feature.shape], box, ones(1, 1, 2, 2, 4))
    with pytest.raises(
        ValueError, match=r"`crops_gradient` must have shape .* got \[1, 2, 2, 3\]"
    ):
        _core.roi_crop_grad_features([feature.shape], box, ones(1, 2, 2, 3))
    with pytest.raises(ValueError, match=r"`feature_shapes` must not be negative; got \[1, -"):
        _core.roi_crop_grad_features([(1, -5, 5, 3)], box, ones(1, 1, 2, 2, 3))


@pytest.mark.parametrize("crop_size", [0, -1, (2, 0), (2,), (2, 2, 2), 2.0, (2.0, 2)])
def test_wrong_crop_sizes_are_refused(crop_size: Any) -> None:
    with pytest.raises(ValueError, match="`crop_size` must be one or two whole numbers"):
        roi_crop([ones(1, 5, 5, 3)], ones(1, 1, 1, 4), crop_size)


def test_wrong_features_are_refused() -> None:
    box = ones(1, 1, 1, 4)
    with pytest.raises(ValueError, match="`features` must be a list of at least one tensor"):
        roi_crop([], box, 2)
    with pytest.raises(ValueError, match=r"`features` must be a list .*; got ndarray"):
        roi_crop(ones(1, 5, 5, 3), box, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"one floating dtype; got .'float32', 'float64'"):
        roi_crop([ones(1, 5, 5, 3), ones(1, 5, 5, 3).astype("f8")], np.tile(box, (1, 1, 2, 1)), 2)
    with pytest.raises(ValueError, match=r"one floating dtype; got .'int32'"):
        roi_crop([np.ones((1, 5, 5, 3), np.int32)], box, 2)
    with pytest.raises(TypeError, match=r"must be float16, .* got int32"):
        _core.roi_crop([np.ones((1, 5, 5, 3), np.int32)], box, (2, 2))
    with pytest.raises(ValueError, match="`threads` must be at least 1; got 0"):
        _core.roi_crop([ones(1, 5, 5, 3)], box, (2, 2), threads=0)


def test_arrays_need_not_be_dense() -> None:
    features, boxes, crop_size = draw_case(1)
    wanted = _core.roi_crop(features, boxes, crop_size)
    strided = [np.asfortranarray(feature) for feature in features]
    np.testing.assert_array_equal(
        _core.roi_crop(strided, np.asfortranarray(boxes), crop_size), wanted
    )


def test_another_tensorflow_is_refused_with_the_command_that_rebuilds() -> None:
    check_tensorflow_version("2.21.0", "2.21.3")
    with pytest.raises(
        ImportError, match=r"built for TensorFlow 2.20.0 and this is 2.21.0; .*pip"
    ):
        check_tensorflow_version("2.20.0", "2.21.0")
    with pytest.raises(ImportError, match=r"built without its TensorFlow op; .*pip install"):
        check_tensorflow_version(None, "2.21.0")


def test_build_info_names_this_tensorflow() -> None:
    info = _core.build_info()
    assert info["tensorflow"] == tf.__version__
    assert info["op_library"] == "libcephray_ops.so"


def test_mixed_box_dtypes_and_keras_variables() -> None:
    features, boxes, crop_size = draw_case(2)
    wanted = roi_crop(features, boxes, crop_size).numpy()
    variables = [keras.Variable(feature) for feature in features]
    for kind in (np.float64, np.float32):
        np.testing.assert_array_equal(roi_crop(variables, boxes.astype(kind), crop_size), wanted)


def test_another_backend_gets_the_keras_composition(monkeypatch: pytest.MonkeyPatch) -> None:
    features, boxes, crop_size = draw_case(4)
    wanted = roi_crop_keras(features, boxes, crop_size)
    composition = Mock(wraps=roi_crop_keras)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(module, "roi_crop_keras", composition)
    np.testing.assert_array_equal(roi_crop(features, boxes, crop_size), wanted)
    assert composition.called
