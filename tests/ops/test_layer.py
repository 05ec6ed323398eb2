"""The crop as a Keras layer."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from cephray.ops import RoiCrop, roi_crop

rng = np.random.default_rng(0)
FEATURES = [rng.normal(size=(2, 8, 6, 4)), rng.normal(size=(2, 4, 3, 2))]
BOXES = rng.uniform(-0.2, 1.2, (2, 3, 2, 4)).astype(np.float32)


def inputs(dtype: str = "float32") -> tuple[list[keras.KerasTensor], keras.KerasTensor]:
    features = [keras.Input(array.shape[1:], dtype=dtype) for array in FEATURES]
    return features, keras.Input(BOXES.shape[1:])


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("size", [3, (2, 5)])
def test_it_is_the_function(size: int | tuple[int, int], dtype: str) -> None:
    features = [keras.ops.cast(array, dtype) for array in FEATURES]
    crops = RoiCrop(size)(features, BOXES)
    assert keras.backend.standardize_dtype(crops.dtype) == dtype
    np.testing.assert_array_equal(crops, roi_crop(features, BOXES, size))


@pytest.mark.parametrize("as_function", [False, True])
def test_symbolic_tensors_make_a_model_that_is_saved(as_function: bool, tmp_path: Path) -> None:
    features, boxes = inputs()
    crops = roi_crop(features, boxes, (2, 5)) if as_function else RoiCrop((2, 5))(features, boxes)
    assert crops.shape == (None, 3, 2, 5, 6)
    model = keras.Model([*features, boxes], crops)
    arrays = [*(array.astype(np.float32) for array in FEATURES), BOXES]
    expected = roi_crop(arrays[:2], BOXES, (2, 5))
    np.testing.assert_array_equal(model(arrays), expected)
    model.save(tmp_path / "crop.keras")
    np.testing.assert_array_equal(
        keras.models.load_model(tmp_path / "crop.keras")(arrays), expected
    )


def test_boxes_stay_float32_under_mixed_precision() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = RoiCrop(3)
    finally:
        keras.config.set_dtype_policy("float32")
    features = [keras.ops.cast(array, "float32") for array in FEATURES]
    np.testing.assert_array_equal(layer(features, BOXES), roi_crop(features, BOXES, 3))


@pytest.mark.parametrize("size", [0, -1, 2.5, "3", (2,), (2, 3, 4), None])
def test_a_size_that_is_none(size: object) -> None:
    with pytest.raises(ValueError, match="`crop_size` must be one or two whole numbers"):
        RoiCrop(size)  # type: ignore[arg-type]
