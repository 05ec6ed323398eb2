"""Tests that fits of points onto a shape are exact in spite of a minority of wrong points."""

from __future__ import annotations

import numpy as np
import pytest

from cephray.data.synthetic.anatomy import LANDMARKS_MM
from cephray.landmarks import ISBI2015
from cephray.plausibility import alignment as shapes

HEAD = shapes.to_complex(  # [19]
    np.array([LANDMARKS_MM[name] for name in ISBI2015.abbreviations])
)


@pytest.mark.parametrize("wrong", [0, 1, 5, 8])
@pytest.mark.parametrize("seed", range(5))
def test_a_similarity_is_found_in_spite_of_wrong_points(seed: int, wrong: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (HEAD - HEAD.mean()) / np.abs(HEAD - HEAD.mean()).std()
    a, b = rng.uniform(0.2, 5) * np.exp(1j * rng.uniform(-3, 3)), complex(*rng.normal(0, 99, 2))
    points = (shape - b) / a
    rows = rng.choice(len(points), wrong, replace=False)
    points[rows] += (3 + 5 * rng.random(wrong)) * np.exp(2j * np.pi * rng.random(wrong)) / a
    found_a, found_b = shapes.fit(points, shape)
    assert abs(found_a / a - 1) < 0.01
    fitted = found_a * points + found_b
    correct = np.delete(np.arange(len(points)), rows)
    assert np.abs(fitted - shape)[correct].max() < 0.02
    if wrong:
        assert np.abs(fitted - shape)[rows].min() > 2


@pytest.mark.parametrize("present", [0, 1, 4, 5])
def test_too_few_points_are_not_fitted(present: int) -> None:
    points = HEAD.copy()
    points[present:] = complex(np.nan, np.nan)
    fitted = not np.isnan(shapes.fit(points, HEAD)).any()
    assert fitted == (present >= shapes.FEWEST_POINTS)


def test_coincident_points_are_not_fitted() -> None:
    assert np.isnan(shapes.fit(np.full(19, 7 + 3j), HEAD)).all()


def test_the_usual_shape_is_that_of_most_sets() -> None:
    rng = np.random.default_rng(0)
    turned = [HEAD * np.exp(1j * rng.normal()) * rng.uniform(0.5, 2) + 50 for _ in range(6)]
    sets = np.array([HEAD.conj(), rng.permutation(HEAD), *turned, HEAD[::-1]])
    usual = shapes.usual_shape(sets)
    assert np.sqrt((np.abs(usual) ** 2).mean()) == pytest.approx(1)
    fitted, _, _ = shapes.fit_all(sets, usual)
    np.testing.assert_allclose(np.abs(fitted[2:8] - usual), 0, atol=1e-9)
    assert np.abs(fitted[[0, 1, 8]] - usual).max(axis=1).min() > 0.3


def test_the_median_ignores_missing_points() -> None:
    points = shapes.to_complex(
        np.array([[[1, 9], [np.nan, 5]], [[3, 7], [np.nan, np.nan]], [[2, 5], [4, np.nan]]])
    )
    found = shapes.median(points)
    assert found[0] == 2 + 7j
    assert np.isnan(found[1])
