"""Tests conversions of coordinates against exact cases."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from cephray import geometry

ISBI = geometry.whole_film((1935, 2400))


def test_edges_of_a_film_are_zero_and_one() -> None:
    corners = np.array([[-0.5, -0.5], [1934.5, 2399.5]])
    np.testing.assert_array_equal(geometry.normalise(corners, ISBI), [[0, 0], [1, 1]])


@given(
    st.floats(-10, 3000),
    st.floats(-10, 3000),
    st.integers(-500, 500),
    st.integers(-500, 500),
    st.integers(1, 4000),
    st.integers(1, 4000),
)
def test_to_pixels_inverts_normalise(
    x: float, y: float, left: int, top: int, width: int, height: int
) -> None:
    point = np.array([x, y])
    frame = geometry.Frame(left, top, width, height)
    there = geometry.normalise(point, frame)
    np.testing.assert_allclose(geometry.to_pixels(there, frame), point, atol=1e-8)


def test_edges_of_a_frame_are_zero_and_one() -> None:
    corners = np.array([[9.5, -20.5], [109.5, 29.5]])
    frame = geometry.Frame(10, -20, 100, 50)
    np.testing.assert_array_equal(geometry.normalise(corners, frame), [[0, 0], [1, 1]])


@given(st.integers(1, 4000), st.integers(1, 4000), st.floats(0.3, 3))
def test_a_letterbox_is_the_smallest_frame_of_its_aspect(
    width: int, height: int, aspect: float
) -> None:
    frame = geometry.letterbox((width, height), aspect)
    assert frame.width >= width
    assert frame.height >= height
    assert frame.width == width or frame.height == height
    assert abs(frame.height - frame.width * aspect) <= max(aspect, 1) / 2 + 1e-6
    # Centred: the margins on both sides differ by one pixel at most.
    assert 0 <= -frame.left - (frame.width - width) / 2 < 1
    assert 0 <= -frame.top - (frame.height - height) / 2 < 1


def test_errors_are_in_millimetres_of_the_original() -> None:
    truth = geometry.normalise(np.array([[[100.0, 200.0], [np.nan, 1.0]]]), ISBI)
    moved = geometry.normalise(np.array([[[130.0, 240.0], [5.0, 5.0]]]), ISBI)
    errors = geometry.radial_errors_mm(moved, truth, np.array([[193.5, 240.0]]))
    assert errors[0, 0] == pytest.approx(5.0)
    assert np.isnan(errors[0, 1])
    offsets = geometry.offsets_mm(moved, truth, np.array([[193.5, 240.0]]))
    np.testing.assert_allclose(offsets[0, 0], [3.0, 4.0])


def test_a_window_is_centred_on_its_point_in_cells() -> None:
    """At stride 8, image coordinate (100, 60) is cell (12, 7), counted from cell centres."""
    point = np.array([[[100 / 160, 60 / 96]]], np.float32)
    box = geometry.windows(point, [(12, 20)], [8], (96, 160), [5])
    y1, x1, y2, x2 = np.asarray(box)[0, 0, 0]
    assert np.array([x1, x2]) * 19 == pytest.approx([12 - 2.5, 12 + 2.5], abs=1e-4)
    assert np.array([y1, y2]) * 11 == pytest.approx([7 - 2.5, 7 + 2.5], abs=1e-4)


def test_windows_are_clipped_to_the_image_and_keep_nan() -> None:
    points = np.array([[[0.0, 1.0], [np.nan, 0.5]]], np.float32)
    boxes = np.asarray(geometry.windows(points, [(10, 10), (5, 5)], [8, 16], (80, 80), [7, 5]))
    assert boxes.shape == (1, 2, 2, 4)
    assert boxes[0, 0].min() == 0.0
    assert 1 - 1e-5 / 9 < boxes[0, 0].max() < 1  # within a hundred-thousandth of a cell
    assert np.isnan(boxes[0, 1, :, [1, 3]]).all()


@pytest.mark.parametrize("cells", [1, 2, 3, 5, 10, 13, 50, 400])
@pytest.mark.parametrize("samples", [3, 5, 7, 9])
def test_no_sample_of_a_clipped_window_falls_outside(cells: int, samples: int) -> None:
    """On a map of ones, samples inside are 1 and samples beyond the border are 0."""
    points = np.linspace(-0.5, 1.5, 2001, dtype=np.float32)
    points = np.stack([points, points[::-1]], axis=-1)[None]
    boxes = geometry.windows(points, [(cells, cells)], [8], (8 * cells, 8 * cells), [samples])
    ones = np.ones((1, cells, cells, 1), np.float32)
    crops = tf.image.crop_and_resize(
        ones, boxes[0, :, 0], np.zeros(points.shape[1], np.int32), (samples, samples)
    )
    np.testing.assert_allclose(crops, 1, rtol=0, atol=1e-6)


def test_a_grid_of_pixels_rounds_half_up() -> None:
    points = np.array([[829.5, 829.49], [-0.5, -0.51], [3.0, 2.999]])
    expected = np.array([[830.0, 829.0], [0.0, -1.0], [3.0, 3.0]])
    np.testing.assert_array_equal(geometry.to_grid(points, 1.0), expected)


def test_half_pixels_round_up_after_a_float32_round_trip() -> None:
    halves = np.stack([np.arange(1935) + 0.5, np.arange(1935) + 0.5], axis=-1)
    back = geometry.to_pixels(geometry.normalise(halves.astype(np.float32), ISBI), ISBI)
    np.testing.assert_array_equal(geometry.to_grid(back, 1.0), halves + 0.5)


@pytest.mark.parametrize("factor", [0.4, 1.7, 2.0])
def test_the_grid_moves_with_a_resized_film(factor: float) -> None:
    points = np.random.default_rng(0).uniform(0, 100, (50, 2))
    resized = geometry.to_grid((points + 0.5) * factor - 0.5, factor)
    np.testing.assert_allclose((resized + 0.5) / factor - 0.5, geometry.to_grid(points, 1.0))
