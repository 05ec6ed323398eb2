"""Standard deviations and probabilities against 10,000 simulated readings of each head."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from cephray.clinical import (
    MEASUREMENTS,
    analysis_named,
    analysis_names,
    class_probabilities,
    error_of_radius,
    measure,
    standard_deviations,
)
from cephray.clinical.inputs import FloatArray
from cephray.landmarks import ISBI2015
from tests.clinical.heads import ALL_POINTS, SPACINGS_MM, heads

READINGS = 10_000
Function = Callable[[FloatArray], FloatArray]
INDICES = [ALL_POINTS.abbreviations.index(name) for name in ISBI2015.abbreviations]


def simulated(
    function: Function, head: NDArray[np.float64], covariance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the values [n, M] of readings with normal errors of these covariances [K, 2, 2]."""
    rng = np.random.default_rng(5)
    errors = [rng.multivariate_normal((0, 0), one, READINGS) for one in covariance]
    return np.asarray(function(head + np.stack(errors, axis=1)))


def covariances(spacing_mm: float) -> NDArray[np.float64]:
    """Return covariances of about 1 mm, longish and in all directions: [K, 2, 2], pixels²."""
    rng = np.random.default_rng(7)
    turns = [np.linalg.qr(rng.normal(size=(2, 2)))[0] for _ in range(len(ALL_POINTS))]
    lengths = rng.uniform(0.3, 1.2, (len(ALL_POINTS), 2)) / spacing_mm
    return np.stack([q @ np.diag(s**2) @ q.T for q, s in zip(turns, lengths, strict=True)])


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("name", analysis_names())
def test_standard_deviations_of_analyses(name: str, number: int) -> None:
    analysis, spacing_mm, head = analysis_named(name), SPACINGS_MM[number], heads()[number]
    # The lesser of two angles is not normal where the two are equally likely the lesser.
    is_smooth = [measure.construction != "least" for measure in analysis.measures]

    def function(points: FloatArray) -> FloatArray:
        return analysis.values(points, spacing_mm, ALL_POINTS)

    covariance = covariances(spacing_mm)
    expected = simulated(function, head, covariance).std(axis=0)
    found = standard_deviations(function, head, covariance)
    np.testing.assert_allclose(found[is_smooth], expected[is_smooth], rtol=0.1)
    error_px = np.random.default_rng(8).uniform(0.4, 1.1, len(ALL_POINTS)) / spacing_mm
    expected = simulated(function, head, np.eye(2) * error_px[:, None, None] ** 2).std(axis=0)
    found = standard_deviations(function, head, error_px)
    np.testing.assert_allclose(found[is_smooth], expected[is_smooth], rtol=0.1)


@pytest.mark.parametrize("number", range(3))
def test_classes_of_the_challenge(number: int) -> None:
    spacing_mm, head = SPACINGS_MM[number], heads()[number][INDICES]

    def function(points: FloatArray) -> FloatArray:
        return measure(points, spacing_mm)

    error_px = np.full(len(head), 0.7 / spacing_mm)
    readings = simulated(function, head, np.eye(2) * error_px[:, None, None] ** 2)
    found = standard_deviations(function, head, error_px)
    # Of MW, only the first and the second head are far enough from 0 to be normal.
    count = 7 if number == 2 else 8
    np.testing.assert_allclose(found[:count], readings.std(axis=0)[:count], rtol=0.1)
    for i, measurement in enumerate(MEASUREMENTS[:count]):
        probabilities = class_probabilities(measurement, function(head)[i], found[i])
        low, high = measurement.normal
        values = readings[:, i]
        assert sum(probabilities) == pytest.approx(1)
        assert probabilities[0] == pytest.approx(
            ((values >= low) & (values <= high)).mean(), abs=0.03
        )
        assert probabilities[measurement.above - 1] == pytest.approx(
            (values > high).mean(), abs=0.03
        )


def test_probabilities_by_hand() -> None:
    anb, *_, mw = MEASUREMENTS  # 3.2 to 5.7 degrees, 2 to 4.5 mm
    assert class_probabilities(anb, 3.2, 2.5) == pytest.approx((0.3413, 0.1587, 0.5), abs=1e-4)
    assert class_probabilities(anb, 4.45, 0.0) == (1, 0, 0)
    assert class_probabilities(anb, 9.0, 0.0) == (0, 1, 0)
    # Edge to edge is what lies within 0.05 mm of 0.
    normal, edge, crossed, large = class_probabilities(mw, 0.0, 0.05)
    assert (normal, edge, crossed) == pytest.approx((0, 0.6827, 0.3173), abs=1e-4)
    assert large == pytest.approx(0)
    assert all(math.isnan(one) for one in class_probabilities(anb, 4.0, math.nan))


def test_the_radius_of_95_percent() -> None:
    sd = float(error_of_radius(np.array(10.0)))
    errors = np.random.default_rng(3).normal(0, sd, (200_000, 2))
    assert (np.hypot(*errors.T) < 10).mean() == pytest.approx(0.95, abs=0.002)


def test_a_distance_by_hand() -> None:
    """The errors of two points along their line add up; those across it have no effect."""

    def distance(points: FloatArray) -> FloatArray:
        way = points[..., 1, :] - points[..., 0, :]
        return np.hypot(way[..., 0], way[..., 1])[..., None]

    points = np.array([[0.0, 0.0], [100.0, 0.0]])
    covariance = np.array([np.diag([9.0, 400.0]), np.diag([16.0, 0.0])])
    assert standard_deviations(distance, points, covariance) == pytest.approx([5])
    assert standard_deviations(distance, points, np.zeros(2)) == pytest.approx([0])


def test_an_unknown_error_leaves_the_measures_that_depend_on_it_unknown() -> None:
    steiner = analysis_named("steiner").of_set(ISBI2015)
    head, error_px = heads()[0][INDICES], np.full(len(ISBI2015), 5.0)
    error_px[ISBI2015.abbreviations.index("B")] = np.nan
    head[ISBI2015.abbreviations.index("Gn")] = np.nan

    def function(points: FloatArray) -> FloatArray:
        return steiner.values(points, 0.1)

    unknown = [bool({"B", "Gn"} & set(steiner.points_of(one))) for one in steiner.measures]
    found = standard_deviations(function, head, error_px)
    np.testing.assert_array_equal(np.isnan(found), unknown)
    covariance = np.eye(2) * error_px[:, None, None] ** 2
    np.testing.assert_allclose(standard_deviations(function, head, covariance), found)


def test_invalid_errors_are_refused() -> None:
    def function(points: FloatArray) -> FloatArray:
        return points[..., 0]

    with pytest.raises(ValueError, match=r"shape \[3\] .* or \[3, 2, 2\] .*; got \[2\]"):
        standard_deviations(function, np.ones((3, 2)), np.ones(2))
    with pytest.raises(ValueError, match="negative eigenvalue"):
        standard_deviations(function, np.ones((1, 2)), -np.eye(2)[None])
