"""Tests the calibration of confidence on errors drawn from a known distribution."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from cephray.errors import InputError
from cephray.metrics.calibration import (
    BOUNDS,
    LIMIT_MM,
    Calibration,
    bands,
    calibrate,
    confidence,
    format_bands,
    radius_factor,
)


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw spreads, and errors whose coordinates follow Laplace's distribution of that scale."""
    rng = np.random.default_rng(seed)
    spread_mm = np.exp(rng.normal(np.log(0.7), 0.6, count))
    errors = rng.laplace(0, 1, (count, 2)) * spread_mm[:, None]
    return spread_mm, np.linalg.norm(errors, axis=-1)


def test_the_radius_holds_95_percent_of_the_errors() -> None:
    factor = radius_factor(calibrate(*drawn(4000)))
    spread_mm, errors_mm = drawn(40_000, seed=1)
    assert np.mean(errors_mm <= factor * spread_mm) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("offset", [-1.0, 0.0, 2.0])
@pytest.mark.parametrize("slope", [1.0, 2.5, 4.0])
def test_confidence_is_95_percent_where_the_radius_is_the_limit(
    offset: float, slope: float
) -> None:
    """A landmark whose 95 % radius is 2 mm has a confidence of 95 %."""
    calibration = Calibration(offset, slope)
    spread_mm = np.array([LIMIT_MM / radius_factor(calibration)])
    assert confidence(spread_mm, calibration) == pytest.approx(0.95)


def test_confidence_is_the_fraction_within_the_limit() -> None:
    calibration = calibrate(*drawn(4000))
    spread_mm, errors_mm = drawn(40_000, seed=1)
    probability = confidence(spread_mm, calibration)
    for low, high in ((0.3, 0.5), (0.5, 0.7), (0.7, 0.85), (0.85, 0.95)):
        inside = (probability >= low) & (probability < high)
        assert inside.sum() > 500
        fraction = np.mean(errors_mm[inside] <= LIMIT_MM)
        assert fraction == pytest.approx(probability[inside].mean(), abs=0.04)


def test_calibration_has_the_maximum_likelihood() -> None:
    spread_mm, errors_mm = drawn(500)
    within = errors_mm <= LIMIT_MM

    def likelihood(offset: float, slope: float) -> float:
        probability = confidence(spread_mm, Calibration(offset, slope))
        return float(np.log(np.where(within, probability, 1 - probability)).sum())

    found = calibrate(spread_mm, errors_mm)
    best = likelihood(*found)
    for step in (-0.05, 0.05):
        assert likelihood(found.offset + step, found.slope) < best
        assert likelihood(found.offset, found.slope + step) < best


def test_missing_values_are_ignored() -> None:
    spread_mm, errors_mm = drawn(300)
    spread, errors = np.append(spread_mm, [1.0, np.nan]), np.append(errors_mm, [np.nan, 1.0])
    assert calibrate(spread, errors) == calibrate(spread_mm, errors_mm)
    assert np.isnan(confidence(np.array([np.nan]), Calibration(1, 1)))


def test_too_few_errors_are_refused() -> None:
    message = r"100 of 100 landmarks lie within 2 mm of the truth; calibration needs at least 20"
    with pytest.raises(InputError, match=message):
        calibrate(np.ones(100), np.ones(100))


def test_bands_by_hand() -> None:
    probability = np.array([[0.1, 0.9, 0.85], [1.0, np.nan, 0.95]])
    errors_mm = np.array([[5.0, 1.0, 2.5], [2.0, 1.0, np.nan]])
    found = bands(probability, errors_mm)
    assert [(band.low, band.high) for band in found] == list(pairwise(BOUNDS))
    assert [band.landmarks for band in found] == [1, 0, 0, 2, 1]
    low, *_, around_90, high = found
    assert (low.mean_confidence, low.fraction_within) == (0.1, 0.0)
    assert around_90.mean_confidence == pytest.approx(0.875)
    assert around_90.fraction_within == 0.5
    assert (high.mean_confidence, high.fraction_within) == (1.0, 1.0)
    assert around_90.to_json() == {
        "from_percent": 85, "to_percent": 95, "landmarks": 2,
        "mean_confidence_percent": pytest.approx(87.5), "within_percent": 50.0,
    }  # fmt: skip
    assert found[1].to_json()["within_percent"] is None
    lines = format_bands(found).splitlines()
    assert lines[4].split() == ["85%", "to", "95%", "2", "87.5%", "50.0%"]
    assert lines[2].split() == ["50%", "to", "70%", "0"]
