"""Uncertainty of measures: standard deviations and probabilities of classes.

Errors of landmarks are taken as normal, and as independent from landmark to landmark. It knows
landmarks in pixels and functions of them, but no measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cephray.clinical.inputs import FloatArray
from cephray.clinical.measures import GRID_MM, Measurement


def error_of_radius(radius_95: FloatArray) -> FloatArray:
    """Return the standard deviation along an axis of errors of which 95 % lie within a radius.

    The errors are normal, and equally large in all directions (a Rayleigh distribution).

    Args:
        radius_95: radii, of any shape and unit.
    """
    return radius_95 / math.sqrt(-2 * math.log(0.05))


def standard_deviations(
    measure: Callable[[FloatArray], FloatArray], points_px: FloatArray, error_px: FloatArray
) -> NDArray[np.float64]:
    """Return the standard deviations of measures of one film, by first-order propagation.

    The derivatives are difference quotients over one standard deviation to either side. Hence
    a jump or a bend of a measure within that distance, as of MW at 0, is averaged and not
    missed or exaggerated.

    Source: JCGM 100:2008, Guide to the expression of uncertainty in measurement, 5.1.2 and 5.1.3.

    Args:
        measure: takes points [..., K, 2] and returns M values [..., M].
        points_px: [K, 2], landmarks, pixels.
        error_px: errors of the landmarks, pixels: standard deviations along each axis [K], or
            covariances [K, 2, 2]. NaN where unknown.

    Returns:
        [M], in the units of the measures. NaN where the measure is, or where it depends on a
        landmark whose error is unknown.

    Raises:
        ValueError: If the shape of the errors is invalid, or a covariance is none.
    """
    points = np.asarray(points_px, np.float64)
    count = len(points)
    roots = _roots(np.asarray(error_px, np.float64), count)  # [K, axis, direction]
    steps = np.zeros((count, 2, count, 2))  # [K, direction, K, axis]: one landmark moves at a time
    landmark = np.arange(count)
    steps[landmark, :, landmark, :] = roots.transpose(0, 2, 1)
    change = (measure(points + steps) - measure(points - steps)) / 2  # [K, direction, M]
    result: NDArray[np.float64] = np.sqrt((change**2).sum(axis=(0, 1)))
    return np.where(np.isfinite(measure(points)), result, np.nan)


def class_probabilities(measurement: Measurement, value: float, sd: float) -> tuple[float, ...]:
    """Return the probability of each class of a measurement, by a normal distribution.

    If 0 has a class of its own, it stands for the values that the grid of `round_landmarks` does
    not tell from 0.

    Args:
        measurement: the measurement, with the bounds of its classes.
        value: its value.
        sd: its standard deviation, in the same unit.

    Returns:
        The probability of each class, in order. Their sum is 1. All are NaN if the value or its
        standard deviation is.
    """
    low, high = measurement.normal
    found = dict.fromkeys(range(1, len(measurement.meanings) + 1), 0.0)
    found[1] = _below(high, value, sd) - _below(low, value, sd)
    found[measurement.below] = _below(low, value, sd)
    found[measurement.above] = 1 - _below(high, value, sd)
    if measurement.zero is not None:
        around = _below(GRID_MM / 2, value, sd) - _below(-GRID_MM / 2, value, sd)
        found[measurement.zero] = around
        found[measurement.below] -= around
    return tuple(found.values())


def _below(bound: float, value: float, sd: float) -> float:
    if sd == 0:
        return float(value < bound)
    return 0.5 * math.erfc((value - bound) / (sd * math.sqrt(2)))


def _roots(error_px: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return matrices [K, 2, 2] whose columns are steps of one standard deviation."""
    if error_px.shape == (count,):
        return np.eye(2) * error_px[:, None, None]
    if error_px.shape != (count, 2, 2):
        raise ValueError(
            f"error_px must have shape [{count}] (standard deviations) or [{count}, 2, 2]"
            f" (covariances); got {list(error_px.shape)}"
        )
    known = np.isfinite(error_px).all(axis=(1, 2), keepdims=True)
    variances, directions = np.linalg.eigh(np.where(known, error_px, 0))
    if (variances < -1e-9 * np.abs(variances).max(initial=1)).any():
        raise ValueError("error_px: a covariance has a negative eigenvalue; give covariances")
    roots = directions * np.sqrt(np.maximum(variances, 0))[:, None, :]
    return np.where(known, roots, np.nan)
