"""Confidence: the probability that a landmark lies within 2 mm of the truth.

The network predicts a spread for each landmark. Calibration learns, from films that were not
trained on, how the probability depends on the spread. It knows errors and spreads, but no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from cephray.errors import InputError

FloatArray = NDArray[np.floating[Any]]

LIMIT_MM = 2.0
"""Radial error up to which a landmark counts as found, millimetres."""

RADIUS_PROBABILITY = 0.95
"""Probability that a landmark lies within its radius of the truth."""

BOUNDS = (0.0, 0.5, 0.7, 0.85, 0.95, 1.0)
"""Bounds of the confidence bands. The last band but one is centred on 90 %."""

PRIOR_LANDMARKS = 100.0
"""Number of landmarks that a prior counts as much as."""

_MAX_STEPS = 200
_LONGEST_STEP = 1.0
_MIN_ERRORS = 20  # on either side of the limit


class Calibration(NamedTuple):
    """Parameters of the calibration: logit(confidence) = offset − slope · log(spread in mm)."""

    offset: float
    slope: float


@dataclass(frozen=True)
class Band:
    """The landmarks whose confidence is at least `low` and below `high`.

    If the network is calibrated, `mean_confidence` and `fraction_within` differ by chance only.
    Both are NaN if the band has no landmarks.

    Args:
        low, high: bounds of the confidence, 0 to 1. The last band includes `high`.
        landmarks: number of landmarks in the band.
        mean_confidence: their mean confidence.
        fraction_within: fraction of them within `LIMIT_MM` of the truth.
    """

    low: float
    high: float
    landmarks: int
    mean_confidence: float
    fraction_within: float

    def to_json(self) -> dict[str, Any]:
        """Return the band as JSON values. Percentages are None if it has no landmarks."""
        return {
            "from_percent": round(100 * self.low),
            "to_percent": round(100 * self.high),
            "landmarks": self.landmarks,
            "mean_confidence_percent": 100 * self.mean_confidence if self.landmarks else None,
            "within_percent": 100 * self.fraction_within if self.landmarks else None,
        }


def confidence(spread_mm: FloatArray, calibration: Calibration) -> FloatArray:
    """Return the probability that each landmark lies within `LIMIT_MM` of the truth.

    Args:
        spread_mm: spreads in millimetres, of any shape; NaN where the film's spacing is unknown.
        calibration: calibration of the network.

    Returns:
        Probabilities from 0 to 1, of the same shape; NaN where the spread is NaN.
    """
    logit = calibration.offset - calibration.slope * np.log(spread_mm)
    probability: FloatArray = 1 / (1 + np.exp(-logit))
    return probability


def radius_factor(calibration: Calibration) -> float:
    """Return the ratio of the radius that contains 95 % of the errors to the spread.

    It stands in for `conformal_factor` where none was computed. The calibration is learned at one
    distance, `LIMIT_MM`. The factor assumes that the probability depends only on the ratio of
    distance to spread. It therefore also holds for films of unknown spacing.

    Args:
        calibration: calibration of the network.

    Returns:
        The factor. The radius is the factor times the spread, in the unit of the spread.
    """
    logit = np.log(RADIUS_PROBABILITY / (1 - RADIUS_PROBABILITY))
    return float(LIMIT_MM * np.exp((logit - calibration.offset) / calibration.slope))


def calibrate(
    spread_mm: FloatArray, errors_mm: FloatArray, prior: Calibration | None = None
) -> Calibration:
    """Fit the calibration to known errors by logistic regression.

    Args:
        spread_mm: spreads of landmarks on films that were not trained on, millimetres.
        errors_mm: radial errors of the same landmarks; NaN where the truth is missing.
        prior: calibration that holds where there are no errors. It counts as much as
            `PRIOR_LANDMARKS` landmarks. If None, only the errors count.

    Returns:
        The calibration of maximum likelihood; with a prior, that of maximum posterior probability.

    Raises:
        InputError: If there is no prior, and too few errors lie within the limit, or too few
            beyond it.
    """
    known = np.isfinite(errors_mm) & np.isfinite(spread_mm)
    within = (errors_mm[known] <= LIMIT_MM).astype(np.float64)
    if prior is None and min(within.sum(), (1 - within).sum()) < _MIN_ERRORS:
        raise InputError(
            f"{within.sum():.0f} of {within.size} landmarks lie within {LIMIT_MM:g} mm of the "
            f"truth; calibration needs at least {_MIN_ERRORS} within and {_MIN_ERRORS} beyond: "
            "give more films"
        )
    inputs = np.stack([np.ones(within.size), -np.log(spread_mm[known])], axis=-1)  # [n, 2]
    centre = np.zeros(2)
    ridge = 1e-6 * np.eye(2)  # keeps the weights finite if the spread separates the errors
    if prior is not None and within.size:
        centre = np.array(prior)
        sure = expit(inputs @ centre)
        ridge = ridge + (PRIOR_LANDMARKS / within.size) * (
            (inputs * (sure * (1 - sure))[:, None]).T @ inputs
        )
    weights = centre.copy()
    for _ in range(_MAX_STEPS):  # Newton's method; the likelihood has a single maximum
        probability = expit(inputs @ weights)
        curvature = (inputs * (probability * (1 - probability))[:, None]).T @ inputs
        slope = inputs.T @ (within - probability) - ridge @ (weights - centre)
        step = np.linalg.solve(curvature + ridge, slope)
        # Far from the maximum, the whole step may lead further away.
        weights += step * min(1.0, _LONGEST_STEP / float(np.linalg.norm(step)))
        if np.abs(step).max() < 1e-10:
            break
    return Calibration(*weights.tolist())


def bands(probability: FloatArray, errors_mm: FloatArray) -> tuple[Band, ...]:
    """Compare confidence with errors in each band of confidence.

    Args:
        probability: confidence of each landmark, 0 to 1, of any shape; NaN where unknown.
        errors_mm: radial errors, of the same shape; NaN where the truth is missing.

    Returns:
        The bands between `BOUNDS`, in order.
    """
    known = np.isfinite(probability) & np.isfinite(errors_mm)
    probability, within = probability[known], errors_mm[known] <= LIMIT_MM
    found = []
    for low, high in pairwise(BOUNDS):
        inside = (probability >= low) & ((probability < high) | (high == BOUNDS[-1]))
        count = int(inside.sum())
        means = (np.nan, np.nan)
        if count:
            means = float(probability[inside].mean()), float(within[inside].mean())
        found.append(Band(low, high, count, *means))
    return tuple(found)


def format_bands(found: Sequence[Band]) -> str:
    """Format bands as a table for the terminal."""
    lines = [f"{'confidence':<14}{'landmarks':>10}{'mean':>10}{f'within {LIMIT_MM:g} mm':>16}"]
    for band in found:
        name = f"{band.low:.0%} to {band.high:.0%}"
        rates = f"{band.mean_confidence:>10.1%}{band.fraction_within:>16.1%}"
        lines.append(f"{name:<14}{band.landmarks:>10}{rates if band.landmarks else ''}")
    return "\n".join(lines)
