"""The usual shape of many sets of marks, and robust fits of single sets onto it.

A point (x, y) is written as the complex number x + iy. A similarity, which rotates, scales and
shifts, is then z -> a z + b. All fits are robust: almost half of a film's marks may be wrong
without affecting the fit. It knows points, but no films, readers or landmark names.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

ComplexArray = NDArray[np.complexfloating[Any, Any]]
FloatArray = NDArray[np.floating[Any]]

FEWEST_POINTS = 5
"""Minimum number of common points for a fit. Two points alone determine a similarity."""

_CANDIDATES = 15  # number of sets that are tried as the initial shape
# Distance at which a point has a weight of 1/4, in units of the shape's size.
_NEAR = 0.2
_REWEIGHTINGS = 10
_ROUNDS = 4  # each fits all sets and takes their median


def to_complex(points: FloatArray) -> ComplexArray:
    """Convert points [..., 2] to complex numbers [...]. Missing points become NaN + NaN i."""
    z: ComplexArray = points[..., 0] + 1j * points[..., 1]
    return np.where(np.isnan(z), complex(np.nan, np.nan), z)


def median(points: ComplexArray) -> ComplexArray:
    """Return the medians of x and y over the first axis, ignoring missing points.

    Args:
        points: [N, ...], complex; NaN where missing.

    Returns:
        [...], complex; NaN where all N points are missing.
    """
    present = ~np.isnan(points).all(axis=0)
    result = np.full(points.shape[1:], complex(np.nan, np.nan))
    result[present] = np.nanmedian(points[:, present].real, axis=0)
    result[present] += 1j * np.nanmedian(points[:, present].imag, axis=0)
    return result


def fit(points: ComplexArray, shape: ComplexArray) -> tuple[complex, complex]:
    """Fit points onto a shape by a similarity, robustly against a minority of wrong points.

    Each pair of points determines a similarity. The one with the smallest median distance to the
    shape is refined by iteratively reweighted least squares, with low weights of distant points.

    Args:
        points: [K], complex; NaN where missing.
        shape: [K], complex; NaN where missing.

    Returns:
        a and b of z -> a z + b. Both are NaN if there are fewer than `FEWEST_POINTS` common
        points, or if all points coincide.
    """
    common = ~np.isnan(points) & ~np.isnan(shape)
    z, target = points[common], shape[common]
    undefined = complex(np.nan, np.nan)
    if len(z) < FEWEST_POINTS:
        return undefined, undefined
    i, j = np.array(list(itertools.combinations(range(len(z)), 2))).T
    difference = z[j] - z[i]
    distinct = difference != 0
    if not distinct.any():
        return undefined, undefined
    i, j, difference = i[distinct], j[distinct], difference[distinct]
    # Neighbouring points determine rotation and scale poorly; such pairs have large distances.
    a = (target[j] - target[i]) / difference  # [pairs]
    b = target[i] - a * z[i]
    distances = np.abs(a[:, None] * z + b[:, None] - target)  # [pairs, points]
    residual = distances[np.argmin(np.median(distances, axis=1))]
    for _ in range(_REWEIGHTINGS):
        weight = 1 / (1 + (residual / _NEAR) ** 2) ** 2
        a_best, b_best = _least_squares(z, target, weight)
        residual = np.abs(a_best * z + b_best - target)
    return a_best, b_best


def usual_shape(sets: ComplexArray) -> ComplexArray:
    """Return the shape that most sets of points have.

    Args:
        sets: [N, K], complex; NaN where missing.

    Returns:
        [K], complex, with centre 0 and a root mean square distance of 1 from it. Points that no
        set has are NaN. All points are NaN if no set can be fitted to another.
    """
    shape = _first_guess(sets)
    for _ in range(_ROUNDS):
        shape = _standardised(median(fit_all(sets, shape)[0]))
    return shape


def fit_all(
    sets: ComplexArray, shape: ComplexArray
) -> tuple[ComplexArray, ComplexArray, ComplexArray]:
    """Fit each set of points onto a shape; see `fit`.

    Args:
        sets: [N, K], complex; NaN where missing.
        shape: [K], complex.

    Returns:
        The fitted points [N, K], and the parameters a [N] and b [N] of the fits.
    """
    fits = np.array([fit(points, shape) for points in sets], complex).reshape(-1, 2)
    a, b = fits.T
    return a[:, None] * sets + b[:, None], a, b


def _least_squares(
    z: ComplexArray, target: ComplexArray, weight: FloatArray
) -> tuple[complex, complex]:
    """Return the similarity with the least sum of weighted squared distances."""
    z_mean, target_mean = np.average(z, weights=weight), np.average(target, weights=weight)
    centred, target_centred = z - z_mean, target - target_mean
    size = (weight * np.abs(centred) ** 2).sum()
    product = (weight * centred.conj() * target_centred).sum()
    a = product / size if size > 0 else complex(np.nan, np.nan)
    return complex(a), complex(target_mean - a * z_mean)


def _standardised(points: ComplexArray) -> ComplexArray:
    """Shift the centre to 0, and scale to a root mean square distance of 1 from it."""
    present = ~np.isnan(points)
    if present.sum() < FEWEST_POINTS:
        return np.full_like(points, complex(np.nan, np.nan))
    centred = points - points[present].mean()
    size = np.sqrt((np.abs(centred[present]) ** 2).mean())
    return centred / size if size > 0 else np.full_like(points, complex(np.nan, np.nan))


def _first_guess(sets: ComplexArray) -> ComplexArray:
    """Return the set that is nearest to the others, among a sample of the sets."""
    step = max(1, len(sets) // _CANDIDATES)
    guesses = [_standardised(points) for points in sets[::step]]

    def distance(guess: ComplexArray) -> float:
        fitted, _, _ = fit_all(sets[::step], guess)
        rows = np.abs(fitted - guess)
        medians = [np.nanmedian(row) if not np.isnan(row).all() else np.inf for row in rows]
        return float(np.median(medians))

    return min(guesses, key=distance)
