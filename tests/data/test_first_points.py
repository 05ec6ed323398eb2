"""Tests the noise of the first windows' centres in training."""

from __future__ import annotations

import numpy as np
import pytest

from cephray.config import WindowNoiseConfig
from cephray.data.first_points import draw_first_points

EXTENT_MM = np.array([200.0, 250.0], np.float32)
TRUTH = np.full((1000, 2), 0.5, np.float32)


def test_noise_has_the_configured_standard_deviation() -> None:
    config = WindowNoiseConfig(enabled=True, probability=1.0, min_mm=3.0, max_mm=3.0)
    points = draw_first_points(TRUTH, EXTENT_MM, np.random.default_rng(0), config)
    assert points.dtype == np.float32
    assert ((points - TRUTH) * EXTENT_MM).std(axis=0) == pytest.approx([3, 3], rel=0.1)


def test_strength_varies_between_films() -> None:
    config = WindowNoiseConfig(enabled=True, probability=1.0, min_mm=0.5, max_mm=4.0)
    rng = np.random.default_rng(0)
    sigmas = [
        float(((draw_first_points(TRUTH, EXTENT_MM, rng, config) - TRUTH) * EXTENT_MM).std())
        for _ in range(100)
    ]
    assert 0.4 < min(sigmas) < 1.0
    assert 3.5 < max(sigmas) < 4.2


def test_some_films_use_the_estimate_of_stage_one() -> None:
    config = WindowNoiseConfig(enabled=True, probability=0.5)
    rng = np.random.default_rng(0)
    unset = [np.isnan(draw_first_points(TRUTH, EXTENT_MM, rng, config)).all() for _ in range(400)]
    assert np.mean(unset) == pytest.approx(0.5, abs=0.08)
    disabled = draw_first_points(TRUTH, EXTENT_MM, rng, WindowNoiseConfig())
    assert np.isnan(disabled).all()


def test_a_missing_landmark_has_no_point() -> None:
    truth = TRUTH.copy()
    truth[3] = np.nan
    config = WindowNoiseConfig(enabled=True, probability=1.0)
    points = draw_first_points(truth, EXTENT_MM, np.random.default_rng(0), config)
    assert np.isnan(points[3]).all()
    assert np.isfinite(np.delete(points, 3, axis=0)).all()
