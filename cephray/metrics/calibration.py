"""Confidence: the probability that a landmark lies within 2 mm of the truth.

The network gives a spread with each landmark; how often errors of a given spread stay within the
limit is learned from films that were not trained on. It knows errors and spreads, and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cephray.errors import InputError

FloatArray = NDArray[np.floating[Any]]

LIMIT_MM = 2.0
RADIUS_PROBABILITY = 0.95
BOUNDS = (0.0, 0.5, 0.7, 0.85, 0.95, 1.0)
"""Of the bands; the last but one is around 90 %."""

_STEPS = 50
_LEAST = 20  # errors on either side of the limit, for two numbers to be learned


class Calibration(NamedTuple):
    """The confidence's logit: offset − slope · log(spread in millimetres)."""

    offset: float
    slope: float


@dataclass(frozen=True)
class Band:
    """Landmarks whose confidence lies from `low` up to, not including, `high`.

    `sure` is their mean confidence, and `within` the share that lies within `LIMIT_MM`: of a
    calibrated network they are equal up to chance. Both are NaN if there is no landmark.
    """

    low: float
    high: float
    landmarks: int
    sure: float
    within: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values, None if there is no landmark."""
        return {
            "from_percent": round(100 * self.low),
            "to_percent": round(100 * self.high),
            "landmarks": self.landmarks,
            "mean_confidence_percent": 100 * self.sure if self.landmarks else None,
            "within_percent": 100 * self.within if self.landmarks else None,
        }


def confidence(spread_mm: FloatArray, calibration: Calibration) -> FloatArray:
    """Return the probability that each landmark lies within `LIMIT_MM` of the truth.

    Args:
        spread_mm: any shape; NaN where the film's spacing is unknown.
        calibration: of the network.

    Returns:
        The same shape, 0 to 1; NaN where the spread is.
    """
    logit = calibration.offset - calibration.slope * np.log(spread_mm)
    probability: FloatArray = 1 / (1 + np.exp(-logit))
    return probability


def radius_factor(calibration: Calibration) -> float:
    """Return the radius that holds 95 % of the errors, in units of the spread.

    The calibration is learned at one distance, `LIMIT_MM`. It is taken to depend on the error in
    units of the spread alone, so that the factor needs no millimetres.

    Args:
        calibration: of the network.
    """
    logit = np.log(RADIUS_PROBABILITY / (1 - RADIUS_PROBABILITY))
    return float(LIMIT_MM * np.exp((logit - calibration.offset) / calibration.slope))


def calibrate(spread_mm: FloatArray, errors_mm: FloatArray) -> Calibration:
    """Learn the calibration that makes the errors most likely: logistic regression.

    Args:
        spread_mm: of landmarks on films that were not trained on.
        errors_mm: of the same; NaN where the truth is missing.

    Raises:
        InputError: too few errors within or beyond the limit to learn from.
    """
    there = np.isfinite(errors_mm) & np.isfinite(spread_mm)
    within = (errors_mm[there] <= LIMIT_MM).astype(np.float64)
    if min(within.sum(), (1 - within).sum()) < _LEAST:
        raise InputError(
            f"{within.sum():.0f} of {within.size} landmarks lie within {LIMIT_MM:g} mm; at least "
            f"{_LEAST} on either side are needed to calibrate: give more films"
        )
    inputs = np.stack([np.ones(within.size), -np.log(spread_mm[there])], axis=-1)  # [n, 2]
    weights = np.zeros(2)
    ridge = 1e-6 * np.eye(2)  # holds the weights where the spread tells all errors apart
    for _ in range(_STEPS):  # Newton's: the likelihood has one maximum
        probability = 1 / (1 + np.exp(-inputs @ weights))
        curvature = (inputs * (probability * (1 - probability))[:, None]).T @ inputs
        slope = inputs.T @ (within - probability) - ridge @ weights
        step = np.linalg.solve(curvature + ridge, slope)
        weights += step
        if np.abs(step).max() < 1e-10:
            break
    return Calibration(*weights.tolist())


def bands(sure: FloatArray, errors_mm: FloatArray) -> tuple[Band, ...]:
    """Compare confidence and errors, band by band.

    Args:
        sure: confidence, 0 to 1; NaN where unknown.
        errors_mm: the same shape; NaN where the truth is missing.
    """
    there = np.isfinite(sure) & np.isfinite(errors_mm)
    sure, within = sure[there], errors_mm[there] <= LIMIT_MM
    found = []
    for low, high in pairwise(BOUNDS):
        some = (sure >= low) & ((sure < high) | (high == BOUNDS[-1]))
        count = int(some.sum())
        means = (float(sure[some].mean()), float(within[some].mean())) if count else (np.nan,) * 2
        found.append(Band(low, high, count, *means))
    return tuple(found)


def format_bands(found: Sequence[Band]) -> str:
    """Format bands as a table."""
    lines = [f"{'confidence':<14}{'landmarks':>10}{'mean':>10}{f'within {LIMIT_MM:g} mm':>16}"]
    for band in found:
        name = f"{band.low:.0%} to {band.high:.0%}"
        shares = f"{band.sure:>10.1%}{band.within:>16.1%}" if band.landmarks else ""
        lines.append(f"{name:<14}{band.landmarks:>10}{shares}")
    return "\n".join(lines)
