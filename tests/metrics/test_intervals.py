"""Tests bootstrap intervals against a loop, normal theory, and a published model's errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cephray.config import DataConfig
from cephray.data import read_dataset
from cephray.metrics.intervals import estimate, resampled_sums
from cephray.metrics.radial_error import SDR_RANGES_MM

NAN = float("nan")


def test_intervals_equal_a_loop_over_the_same_draws() -> None:
    rng = np.random.default_rng(3)
    errors_mm = rng.gamma(2.0, 1.0, (7, 5))
    errors_mm[[0, 2, 2], [1, 3, 4]] = NAN
    found = estimate(errors_mm, resamples=200, seed=11)

    draws = np.random.default_rng(11).integers(7, size=(200, 7))
    means, rates = [], []
    for draw in draws:
        drawn = [errors_mm[film, k] for film in draw for k in range(5)]
        drawn = [error for error in drawn if not np.isnan(error)]
        means.append(sum(drawn) / len(drawn))
        rates.append([100 * sum(e <= mm for e in drawn) / len(drawn) for mm in SDR_RANGES_MM])
    assert found.mre_mm == pytest.approx(np.percentile(means, [2.5, 97.5]))
    for index, limit in enumerate(SDR_RANGES_MM):
        expected = np.percentile([rate[index] for rate in rates], [2.5, 97.5])
        assert found.sdr_percent[limit] == pytest.approx(expected)


def test_intervals_of_many_films_agree_with_normal_theory() -> None:
    """With one landmark a film, the mean is normal with standard error s / sqrt(n)."""
    errors_mm = np.random.default_rng(0).gamma(4.0, 0.5, (2000, 1))
    found = estimate(errors_mm)
    assert found.mre_mm is not None
    half_mm = 1.96 * errors_mm.std() / np.sqrt(2000)
    expected = errors_mm.mean() + np.array([-half_mm, half_mm])
    assert found.mre_mm == pytest.approx(expected, abs=0.05 * half_mm)
    fraction = np.mean(errors_mm <= 2)
    half = 196 * np.sqrt(fraction * (1 - fraction) / 2000)
    assert found.sdr_percent[2.0] == pytest.approx(
        100 * fraction + np.array([-half, half]), abs=0.05 * half
    )


def test_films_are_resampled_and_not_landmarks() -> None:
    """Landmarks with the same error on each film give the interval of one landmark."""
    one = np.random.default_rng(1).gamma(2.0, 1.0, (40, 1))
    assert estimate(np.repeat(one, 19, axis=1)).mre_mm == pytest.approx(estimate(one).mre_mm)


def test_draws_do_not_depend_on_the_block() -> None:
    sums = np.random.default_rng(2).uniform(size=(6, 3))
    whole = resampled_sums(sums, 50, seed=4)
    assert whole.shape == (50, 3)
    for block in (1, 6, 7, 100, 299):
        np.testing.assert_allclose(resampled_sums(sums, 50, seed=4, block=block), whole)


def test_the_interval_is_the_same_every_time() -> None:
    errors_mm = np.random.default_rng(5).gamma(2.0, 1.0, (30, 19))
    assert estimate(errors_mm) == estimate(errors_mm)
    assert estimate(errors_mm).mre_mm != estimate(errors_mm, seed=1).mre_mm


def test_films_without_landmarks_are_ignored() -> None:
    errors_mm = np.random.default_rng(6).gamma(2.0, 1.0, (9, 4))
    with_empty = np.insert(errors_mm, 3, NAN, axis=0)
    found, expected = estimate(with_empty), estimate(errors_mm)
    assert (found.films, expected.films) == (10, 9)
    assert found.mre_mm == expected.mre_mm


@pytest.mark.parametrize("errors_mm", [np.ones((1, 19)), np.full((3, 19), NAN), np.ones((0, 19))])
def test_fewer_than_two_films_have_no_interval(errors_mm: np.ndarray[tuple[int, int]]) -> None:
    facts = estimate(errors_mm).to_json()
    assert facts["mre_mm_interval"] is None
    assert facts["sdr_percent_interval"] is None
    assert set(facts) == {"films", "mre_mm", "sd_mm", "sdr_percent", "mre_mm_interval",
                          "sdr_percent_interval"}  # fmt: skip


def test_a_published_model_on_test1(shared: Path) -> None:
    """Its interval is about ± 0.04 mm and ± 1.4 points at 2 mm."""
    predicted = json.loads((shared / "data" / "delr_test1" / "predictions.json").read_text())
    records = read_dataset(shared / "data" / "isbi2015", "test1", DataConfig())
    errors_mm = np.stack(
        [
            np.linalg.norm(np.array(predicted[r.film]) - r.landmarks_px, axis=-1) * r.spacing_mm
            for r in records
        ]
    )
    found = estimate(errors_mm)
    assert found.mre_mm is not None
    low, high = found.mre_mm
    assert low < found.summary.mre_mm < high
    assert (high - low) / 2 == pytest.approx(0.04, abs=0.01)
    low, high = found.sdr_percent[2.0]
    assert (high - low) / 2 == pytest.approx(1.4, abs=0.2)
