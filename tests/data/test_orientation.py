"""Turned, mirrored and inverted films, and points on them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephray.data.orientation import ORIENTATIONS, UPRIGHT, Orientation

EVERY = [o._replace(inverted=inverted) for o in ORIENTATIONS for inverted in (False, True)]
SIZE_PX = (7, 4)
FILM = np.random.default_rng(0).permutation(28).astype(np.uint8).reshape(4, 7)


@pytest.mark.parametrize("orientation", EVERY, ids=str)
def test_points_move_with_their_pixels(orientation: Orientation) -> None:
    upright = orientation.right(FILM)
    width, height = orientation.upright_size(SIZE_PX)
    assert upright.shape == (height, width)
    for x, y in itertools.product(range(width), range(height)):
        film_x, film_y = orientation.to_film(np.array([x, y]), SIZE_PX)
        grey = FILM[film_y, film_x]
        assert upright[y, x] == (255 - grey if orientation.inverted else grey)


@given(
    st.sampled_from(EVERY),
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.lists(st.tuples(st.floats(-100, 4000), st.floats(-100, 4000)), min_size=1),
)
def test_there_and_back(
    orientation: Orientation, size_px: tuple[int, int], points: list[tuple[float, float]]
) -> None:
    points_px = np.array(points)
    there = orientation.to_film(points_px, size_px)
    np.testing.assert_allclose(orientation.to_upright(there, size_px), points_px, atol=1e-9)


def test_what_each_orientation_looks_like() -> None:
    """On a film turned clockwise, the top of the upright film is at the right."""
    film = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    expected = {
        (0, False): [[1, 2, 3], [4, 5, 6]],
        (90, False): [[3, 6], [2, 5], [1, 4]],
        (180, False): [[6, 5, 4], [3, 2, 1]],
        (270, False): [[4, 1], [5, 2], [6, 3]],
        (0, True): [[3, 2, 1], [6, 5, 4]],
        (90, True): [[6, 3], [5, 2], [4, 1]],
    }
    for key, upright in expected.items():
        np.testing.assert_array_equal(Orientation(*key).right(film), upright)
    assert len(set(ORIENTATIONS)) == 8
    assert ORIENTATIONS[0] == UPRIGHT


def test_orientations_in_words() -> None:
    assert str(UPRIGHT) == "upright"
    assert str(Orientation(90, True)) == "mirrored and turned by 90 degrees clockwise"
    assert str(Orientation(inverted=True)) == "inverted"
