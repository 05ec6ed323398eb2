"""Regions that hold 95 % of the landmarks, on errors drawn from known distributions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cephray.errors import InputError
from cephray.metrics.regions import (
    FEWEST_FILMS,
    PRIOR_FILMS,
    conformal_factor,
    format_regions,
    measure_regions,
)

LANDMARKS = 19


def drawn(films: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw spreads and errors [films, 19]; the landmarks of a film err together."""
    spread_mm = np.exp(rng.normal(-0.5, 0.5, (films, LANDMARKS)))
    of_film = np.exp(rng.normal(0, 0.4, (films, 1)))
    return spread_mm, spread_mm * of_film * rng.rayleigh(1.0, (films, LANDMARKS))


@pytest.mark.parametrize("films", [FEWEST_FILMS, 30, 150])
def test_a_further_film_is_held_with_the_promised_probability(films: int) -> None:
    """At least 95 % on average over calibrations, and not much more."""
    rng = np.random.default_rng(films)
    held = []
    for _ in range(1500):
        factor = conformal_factor(*drawn(films, rng))
        spread_mm, errors_mm = drawn(1, rng)
        held.append((errors_mm <= factor * spread_mm).mean())
    low = np.mean(held) - 2 * np.std(held) / np.sqrt(len(held))
    high = np.mean(held) + 2 * np.std(held) / np.sqrt(len(held))
    assert high >= 0.95
    assert low <= 0.95 + 1.5 / films


def test_the_factor_is_the_quantile_by_hand() -> None:
    """Of 39 films with one landmark each, 0.95 × 40 = 38: the 38th smallest ratio."""
    ratios = np.random.default_rng(0).permutation(np.arange(1.0, 40.0))[:, None]
    assert conformal_factor(np.full((39, 1), 0.5), 0.5 * ratios) == 38
    # A film with two landmarks counts each half: 37 + 1/2 < 38 <= 37 + 1/2 + 1/2.
    ratios = np.concatenate([ratios, np.full((39, 1), np.nan)], axis=1)
    ratios[ratios[:, 0] == 38, 1] = 38.5
    assert conformal_factor(np.ones((39, 2)), ratios) == 38.5


def test_missing_landmarks_and_films_do_not_count() -> None:
    rng = np.random.default_rng(1)
    spread_mm, errors_mm = drawn(40, rng)
    more_spread = np.concatenate([spread_mm, np.ones((5, LANDMARKS))])
    more_errors = np.concatenate([errors_mm, np.full((5, LANDMARKS), np.nan)])
    assert conformal_factor(more_spread, more_errors) == conformal_factor(spread_mm, errors_mm)


def test_too_few_films_are_refused_unless_a_factor_is_known() -> None:
    spread_mm, errors_mm = drawn(FEWEST_FILMS - 1, np.random.default_rng(2))
    with pytest.raises(InputError, match=r"18 films have landmarks; .* need at least 19"):
        conformal_factor(spread_mm, errors_mm)
    largest = (errors_mm / spread_mm).max()
    weight = len(spread_mm) / (len(spread_mm) + PRIOR_FILMS)
    expected = largest**weight * 2.0 ** (1 - weight)
    assert conformal_factor(spread_mm, errors_mm, prior=2.0) == pytest.approx(expected)
    assert conformal_factor(spread_mm[:0], errors_mm[:0], prior=2.0) == 2.0


def test_regions_are_counted_and_measured() -> None:
    radius_mm = np.array([1.0, 2.0, 3.0, np.nan, 4.0])
    errors_mm = np.array([1.0, 2.5, 1.0, 1.0, np.nan])
    found = measure_regions(radius_mm, errors_mm)
    assert found.landmarks == 3
    assert found.fraction_held == pytest.approx(2 / 3)
    assert found.median_area_mm2 == pytest.approx(4 * np.pi)
    assert format_regions(found) == (
        "95% regions: 66.7% of 3 landmarks lie in theirs; median area 12.6 mm²"
    )
    nothing = measure_regions(radius_mm, np.full(5, np.nan))
    assert nothing.to_json() == {"landmarks": 0, "held_percent": None, "median_area_mm2": None}
