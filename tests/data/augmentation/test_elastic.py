"""Tests the elastic deformation: landmarks against SciPy's interpolation, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from cephray.config import ElasticConfig, parse_config
from cephray.data.augmentation.elastic import bend, draw_displacement, sources
from cephray.errors import InputError

W, H = 80, 100


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(0.0, 5), (0.015, 5), (0.03, 3), (0.006, 16), (0.02, 5)]),
)
def test_a_bent_landmark_comes_from_where_it_was(seed: int, strength: tuple[float, int]) -> None:
    rng = np.random.default_rng(seed)
    max_shift, points = strength
    displacement = draw_displacement(
        rng, (W, H), ElasticConfig(enabled=True, max_shift=max_shift, points=points)
    )
    landmarks = rng.uniform(0.05, 0.95, (19, 2)).astype(np.float32)
    bent = bend(landmarks, displacement)
    assert bent.dtype == np.float32
    at = np.clip(bent * (W, H) - 0.5, 0, (W - 1, H - 1))[:, ::-1].T  # rows, then columns
    shift = np.stack([map_coordinates(displacement[..., axis], at, order=1) for axis in (0, 1)], 1)
    np.testing.assert_allclose(bent * (W, H) + shift, landmarks * (W, H), atol=0.02)


def test_the_displacement_is_smooth_and_within_its_limit() -> None:
    config = ElasticConfig(enabled=True, max_shift=0.02, points=5)
    largest = 0.0
    for seed in range(200):
        displacement = draw_displacement(np.random.default_rng(seed), (W, H), config)
        assert displacement.shape == (H, W, 2)
        assert displacement.dtype == np.float32
        largest = max(largest, np.abs(displacement).max())
        for axis in (0, 1):  # neighbours keep their order
            assert np.abs(np.diff(displacement, axis=axis)).max() < 0.5
    assert 0.9 * 0.02 * H < largest < 1.6 * 0.02 * H


def test_without_displacement_each_pixel_comes_from_itself() -> None:
    still = sources(np.zeros((3, 4, 2), np.float32))
    assert still[2, 3].tolist() == [3, 2]
    assert still[0, 1].tolist() == [1, 0]


def test_missing_landmarks_stay_missing_and_outer_ones_take_the_shift_of_the_edge() -> None:
    shift = np.full((H, W, 2), (2.0, -3.0), np.float32)
    landmarks = np.array([[np.nan, np.nan], [0.5, 0.5], [1.2, -0.1]], np.float32)
    bent = bend(landmarks, shift)
    assert np.isnan(bent[0]).all()
    np.testing.assert_allclose(bent[1:], landmarks[1:] - np.array([2, -3]) / (W, H), atol=1e-6)


def test_a_grid_that_would_fold_the_film_is_refused() -> None:
    with pytest.raises(InputError, match=r"max_shift times points must not exceed 0\.1.*folds"):
        parse_config({"augment": {"elastic": {"max_shift": 0.02, "points": 6}}})
