"""The usual shape of many sets of marks, and robust fits of single sets onto it.

A point (x, y) is written as the complex number x + iy. A similarity, which turns, enlarges and
moves, is then z -> a z + b. All fits are robust: up to almost half of a film's marks may be wrong
without moving the fit. It knows points only: no films, no readers and no landmark names.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

ComplexArray = NDArray[np.complexfloating[Any, Any]]
FloatArray = NDArray[np.floating[Any]]

FEWEST_POINTS = 5
"""Fewer common points than this are not fitted: two of them settle the similarity alone."""

_CANDIDATES = 15  # shapes that are tried as the first guess of the usual one
_NEAR = (
    0.2  # distance at which a point counts a quarter; the root mean square from the centre is 1
)
_REWEIGHTINGS = 10
_ROUNDS = 4  # of fitting all shapes and taking their median


def to_complex(points: FloatArray) -> ComplexArray:
    """Write points [..., 2] as complex numbers [...]; NaN + NaN i where one is missing."""
    z: ComplexArray = points[..., 0] + 1j * points[..., 1]
    return np.where(np.isnan(z), complex(np.nan, np.nan), z)


def median(points: ComplexArray) -> ComplexArray:
    """Return the median of x and of y over the first axis, without missing points.

    Args:
        points: [N, ...], complex.

    Returns:
        [...]; NaN where all N are missing.
    """
    there = ~np.isnan(points).all(axis=0)
    result = np.full(points.shape[1:], complex(np.nan, np.nan))
    result[there] = np.nanmedian(points[:, there].real, axis=0)
    result[there] += 1j * np.nanmedian(points[:, there].imag, axis=0)
    return result


def fit(points: ComplexArray, shape: ComplexArray) -> tuple[complex, complex]:
    """Find the similarity that carries points onto a shape, whatever a minority of them does.

    Every pair of points gives a similarity. The one with the smallest median distance to the shape
    is refined by least squares, in which distant points count little.

    Args:
        points: [K], complex; NaN where missing.
        shape: [K], complex; NaN where missing.

    Returns:
        a and b of z -> a z + b; NaN if there are too few points, or all lie at one place.
    """
    common = ~np.isnan(points) & ~np.isnan(shape)
    z, target = points[common], shape[common]
    nothing = complex(np.nan, np.nan)
    if len(z) < FEWEST_POINTS:
        return nothing, nothing
    i, j = np.array(list(itertools.combinations(range(len(z)), 2))).T
    apart = z[j] - z[i]
    use = apart != 0
    if not use.any():
        return nothing, nothing
    i, j, apart = i[use], j[use], apart[use]
    # Two neighbours settle a turn and a scale badly, but then their median distance is large.
    a = (target[j] - target[i]) / apart  # [pairs]
    b = target[i] - a * z[i]
    distances = np.abs(a[:, None] * z + b[:, None] - target)  # [pairs, points]
    apart_after = distances[np.argmin(np.median(distances, axis=1))]
    for _ in range(_REWEIGHTINGS):
        weight = 1 / (1 + (apart_after / _NEAR) ** 2) ** 2
        a_best, b_best = _least_squares(z, target, weight)
        apart_after = np.abs(a_best * z + b_best - target)
    return a_best, b_best


def usual_shape(sets: ComplexArray) -> ComplexArray:
    """Return the shape that most sets of points have.

    Args:
        sets: [N, K], complex; NaN where missing.

    Returns:
        [K], of root mean square distance 1 from its centre, which is 0; NaN where no set has the
        point. All NaN if no set can be fitted to another.
    """
    shape = _first_guess(sets)
    for _ in range(_ROUNDS):
        shape = _standardised(median(fit_all(sets, shape)[0]))
    return shape


def fit_all(
    sets: ComplexArray, shape: ComplexArray
) -> tuple[ComplexArray, ComplexArray, ComplexArray]:
    """Fit each set of points onto a shape.

    Args:
        sets: [N, K], complex; NaN where missing.
        shape: [K], complex.

    Returns:
        The fitted points [N, K], and a and b [N] of each fit.
    """
    fits = np.array([fit(points, shape) for points in sets], complex).reshape(-1, 2)
    a, b = fits.T
    return a[:, None] * sets + b[:, None], a, b


def _least_squares(
    z: ComplexArray, target: ComplexArray, weight: FloatArray
) -> tuple[complex, complex]:
    """Return the similarity of least squared distances, weighted."""
    z_mean, target_mean = np.average(z, weights=weight), np.average(target, weights=weight)
    around, wanted = z - z_mean, target - target_mean
    size = (weight * np.abs(around) ** 2).sum()
    a = (weight * around.conj() * wanted).sum() / size if size > 0 else complex(np.nan, np.nan)
    return complex(a), complex(target_mean - a * z_mean)


def _standardised(points: ComplexArray) -> ComplexArray:
    """Move the centre to 0, and scale to a root mean square distance of 1 from it."""
    there = ~np.isnan(points)
    if there.sum() < FEWEST_POINTS:
        return np.full_like(points, complex(np.nan, np.nan))
    centred = points - points[there].mean()
    size = np.sqrt((np.abs(centred[there]) ** 2).mean())
    return centred / size if size > 0 else np.full_like(points, complex(np.nan, np.nan))


def _first_guess(sets: ComplexArray) -> ComplexArray:
    """Return the set that lies nearest to the others, of a few spread over all."""
    step = max(1, len(sets) // _CANDIDATES)
    guesses = [_standardised(points) for points in sets[::step]]

    def distance(guess: ComplexArray) -> float:
        fitted, _, _ = fit_all(sets[::step], guess)
        apart = np.abs(fitted - guess)
        far = [np.nanmedian(row) if not np.isnan(row).all() else np.inf for row in apart]
        return float(np.median(far))

    return min(guesses, key=distance)
