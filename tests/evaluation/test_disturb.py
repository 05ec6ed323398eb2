"""Disturbed films: the landmarks stay on what they marked."""

from __future__ import annotations

import numpy as np
import pytest

from cephray.evaluation.disturb import DISTURBANCES, LARGEST_SHARE, Shot, crop, pad, resample

POINTS = np.array([[60.0, 80.0], [120.0, 90.0], [90.0, 150.0]])


def dots() -> Shot:
    """Bright smooth dots at the points, on grey that no disturbance leaves black or white."""
    y, x = np.mgrid[:240, :200]
    image = 40 + sum(180 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18) for px, py in POINTS)
    return Shot(image.astype(np.uint8), POINTS.copy(), 0.1)


@pytest.mark.parametrize("name", DISTURBANCES)
def test_landmarks_stay_on_their_dots(name: str) -> None:
    shot = dots()
    disturbed = DISTURBANCES[name](shot, np.random.default_rng(1))
    image = disturbed.image.astype(float)
    if name == "inverted":
        image = 255 - image
    assert disturbed.image.dtype == np.uint8
    radius = round(0.9 / disturbed.spacing_mm)
    for point in disturbed.landmarks_px:
        column, row = np.round(point).astype(int)
        rows, columns = np.mgrid[
            row - radius : row + radius + 1, column - radius : column + radius + 1
        ]
        part = image[rows, columns]
        weight = part - part.min()
        centre = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
        assert np.abs(centre - point).max() * disturbed.spacing_mm < 0.02


def test_millimetres_between_landmarks_stay_the_same() -> None:
    shot = dots()
    for name, disturb in DISTURBANCES.items():
        disturbed = disturb(shot, np.random.default_rng(2))
        for a, b in ((0, 1), (1, 2)):
            before = np.linalg.norm(shot.landmarks_px[a] - shot.landmarks_px[b]) * 0.1
            after = np.linalg.norm(disturbed.landmarks_px[a] - disturbed.landmarks_px[b])
            assert after * disturbed.spacing_mm == pytest.approx(before, rel=1e-2), name
    np.testing.assert_array_equal(shot.landmarks_px, POINTS)


def test_resolution_changes_the_size() -> None:
    disturbed = resample(0.2)(dots(), np.random.default_rng(0))
    assert disturbed.image.shape == (120, 100)
    assert disturbed.spacing_mm == 0.2


def test_margins_are_drawn_up_to_the_largest() -> None:
    rng = np.random.default_rng(0)
    heights = np.array([crop(dots(), rng).image.shape[0] for _ in range(300)])
    assert heights.min() >= 240 * (1 - 2 * LARGEST_SHARE)
    assert heights.max() <= 240
    assert heights.mean() == pytest.approx(240 * (1 - LARGEST_SHARE), rel=0.02)
    white = pad(255)(dots(), rng).image
    assert (white[0] == 255).all()


def test_a_landmark_that_is_cut_off_is_missing() -> None:
    shot = dots()._replace(landmarks_px=np.array([[1.0, 1.0], [100.0, 120.0], [np.nan, np.nan]]))
    points = crop(shot, np.random.default_rng(0)).landmarks_px
    assert np.isnan(points[[0, 2]]).all()
    assert np.isfinite(points[1]).all()
