"""The fit of the last layer against least squares, and the shrinkage against simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cephray.adapt.fit import fit_change, folds, moments, shrinkage, total

K, U, M = 3, 5, 40
Array = NDArray[np.float64]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def samples(rng: np.random.Generator, count: int = M) -> tuple[Array, Array]:
    return np.abs(rng.normal(1, 1, (count, K, U))), rng.normal(0.3, 1, (count, K, 2))


def unshrunk(distances: Array) -> tuple[Array, Array]:
    return np.nanmean(distances, axis=0), np.ones(K)


@pytest.mark.parametrize("ridge", [0.1, 3.0, 1e3])
def test_the_change_solves_the_penalised_least_squares(
    rng: np.random.Generator, ridge: float
) -> None:
    hidden, distances = samples(rng)
    kernel, bias = fit_change(moments(hidden, distances), ridge, *unshrunk(distances))
    for k in range(K):
        power = (hidden[:, k] ** 2).mean()
        # The penalty, written as U more rows that want the kernel to be 0.
        rows = np.block(
            [
                [hidden[:, k], np.ones((M, 1))],
                [np.sqrt(ridge * M * power) * np.eye(U), np.zeros((U, 1))],
            ]
        )
        wanted = np.concatenate([distances[:, k], np.zeros((U, 2))])
        solution = np.linalg.lstsq(rows, wanted, rcond=None)[0]
        np.testing.assert_allclose(kernel[k], solution[:-1], atol=1e-4)
        np.testing.assert_allclose(bias[k], solution[-1], atol=1e-4)


def test_an_offset_alone_is_the_mean_distance(rng: np.random.Generator) -> None:
    hidden, distances = samples(rng)
    kernel, bias = fit_change(moments(hidden, distances), np.inf, *unshrunk(distances))
    assert not kernel.any()
    np.testing.assert_allclose(bias, distances.mean(axis=0))
    _, none = fit_change(moments(hidden, distances), np.inf, distances.mean(axis=0), np.zeros(K))
    np.testing.assert_allclose(none, 0, atol=1e-12)


def test_missing_marks_do_not_count(rng: np.random.Generator) -> None:
    hidden, distances = samples(rng)
    distances[5:, 1] = np.nan
    distances[:, 2] = np.nan
    sums = moments(hidden, distances)
    assert sums.count.tolist() == [M, 5, 0]
    only = moments(hidden[:5], distances[:5])
    means = np.array([distances[:, 0].mean(0), distances[:5, 1].mean(0), [0, 0]])
    kernel, bias = fit_change(sums, 1.0, means, np.ones(K))
    few_kernel, few_bias = fit_change(only, 1.0, means, np.ones(K))
    np.testing.assert_allclose(kernel[1], few_kernel[1])
    np.testing.assert_allclose(bias[1], few_bias[1])
    assert not kernel[2].any()
    assert not bias[2].any()
    assert np.isfinite(kernel).all()


def test_sums_add(rng: np.random.Generator) -> None:
    hidden, distances = samples(rng)
    parts = [moments(hidden[i::4], distances[i::4]) for i in range(4)]
    whole = total(parts)
    np.testing.assert_allclose(whole.gram, moments(hidden, distances).gram)
    np.testing.assert_allclose(whole.cross, moments(hidden, distances).cross)


@pytest.mark.parametrize("size", [0.0, 0.2, 0.5, 1.0, 3.0])
def test_shrinkage_is_better_than_the_mean_and_than_nothing(size: float) -> None:
    rng = np.random.default_rng(1)
    errors: dict[str, list[Any]] = {"mean": [], "shrunk": [], "nothing": []}
    for _ in range(300):
        true = rng.normal(0, size, (19, 2)) * (rng.random((19, 1)) < 0.5)
        offsets = true + rng.normal(0, 1.2, (3, 19, 2))
        means, factors = shrinkage(offsets)
        for name, found in (
            ("mean", means),
            ("shrunk", means * factors[:, None]),
            ("nothing", 0 * means),
        ):
            errors[name].append(((found - true) ** 2).sum(axis=-1).mean())
    mean, shrunk, nothing = (np.mean(errors[name]) for name in ("mean", "shrunk", "nothing"))
    assert shrunk < 0.95 * mean
    assert shrunk < 0.1 * mean + 1.1 * nothing


def test_large_offsets_are_hardly_shrunk_and_noise_is() -> None:
    rng = np.random.default_rng(2)
    offsets = rng.normal(0, 1, (10, 19, 2))
    offsets[:, 0] += 5
    _, factors = shrinkage(offsets)
    assert factors[0] > 0.98
    assert np.median(factors[1:]) < 0.5
    assert (factors >= 0).all()
    assert (factors <= 1).all()


def test_spreads_tell_which_offsets_are_noise() -> None:
    # Three films say little about how much each landmark varies; the ratio of spreads is known.
    rng = np.random.default_rng(3)
    spread = np.geomspace(0.3, 3.0, 19)
    errors: dict[str, list[Any]] = {"known": [], "unknown": []}
    for _ in range(300):
        true = rng.normal(0, 1.0, (19, 2))
        offsets = true + spread[:, None] * rng.normal(0, 1, (3, 19, 2))
        for name, spreads in (("known", np.tile(7 * spread, (3, 1))), ("unknown", None)):
            means, factors = shrinkage(offsets, spreads)
            errors[name].append(((means * factors[:, None] - true) ** 2).sum(axis=-1).mean())
    assert np.mean(errors["known"]) < 0.97 * np.mean(errors["unknown"])


def test_nothing_is_learnt_from_one_film_or_from_no_marks() -> None:
    _, factors = shrinkage(np.ones((1, 4, 2)))
    assert not factors.any()
    means, factors = shrinkage(np.full((5, 4, 2), np.nan))
    assert not means.any()
    assert not factors.any()


@pytest.mark.parametrize("count", [3, 10, 23])
def test_folds_divide_the_films(count: int) -> None:
    parts = folds(count, 10, seed=0)
    assert len(parts) == min(10, count)
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
