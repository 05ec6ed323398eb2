"""Regions that hold landmarks with a probability of 95 %, by conformal prediction.

The radius of a region is a factor times the spread that the network expects. The factor is a
quantile of the ratios of errors to spreads on films that were not trained on. The landmarks of a
film are not independent, so that films, and not landmarks, are counted.

Source: Lee, Barber and Willett, Distribution-free inference with hierarchical data,
arXiv:2306.06342.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.errors import InputError
from cephray.metrics.calibration import RADIUS_PROBABILITY, Calibration, radius_factor

FloatArray = NDArray[np.floating[Any]]

FEWEST_FILMS = math.ceil(RADIUS_PROBABILITY / (1 - RADIUS_PROBABILITY))
"""With fewer films, no factor holds the probability."""

PRIOR_FILMS = 20.0
"""Number of films that a prior factor counts as much as."""


def conformal_factor(
    spread_mm: FloatArray, errors_mm: FloatArray, prior: float | None = None
) -> float:
    """Return the factor from the spread of a landmark to the radius that holds it.

    A landmark of a further film, drawn like these, lies within the radius with a probability of at
    least `RADIUS_PROBABILITY`, if there is no prior.

    Args:
        spread_mm: [N, K], spreads on films that were not trained on; NaN where unknown.
        errors_mm: [N, K], radial errors of the same landmarks; NaN where the truth is missing.
        prior: a factor that is known from elsewhere. Its logarithm is averaged with that of the
            factor from these films; it counts as much as `PRIOR_FILMS` films.

    Raises:
        InputError: If there are fewer than `FEWEST_FILMS` films with landmarks, and no prior.
    """
    ratios = errors_mm / spread_mm
    films = [ratio[np.isfinite(ratio)] for ratio in ratios]
    films = [ratio for ratio in films if len(ratio)]
    if prior is None and len(films) < FEWEST_FILMS:
        raise InputError(
            f"{len(films)} films have landmarks; regions that hold {RADIUS_PROBABILITY:.0%} of the"
            f" landmarks need at least {FEWEST_FILMS}: give more films"
        )
    if not films:
        assert prior is not None
        return prior
    values = np.concatenate(films)
    weights = np.concatenate([np.full(len(ratio), 1 / len(ratio)) for ratio in films])
    order = np.argsort(values)
    shares = np.cumsum(weights[order])
    # The further film counts as one whose ratios are infinite.
    wanted = RADIUS_PROBABILITY * (len(films) + 1)
    index = int(np.searchsorted(shares, wanted * (1 - 1e-12)))
    found = float(values[order[min(index, len(values) - 1)]])
    if prior is None:
        return found
    weight = len(films) / (len(films) + PRIOR_FILMS)
    return float(np.exp(weight * np.log(found) + (1 - weight) * np.log(prior)))


def known_factor(factor: float | None, calibration: Calibration | None) -> float | None:
    """Return the factor from spreads to radii that a network has.

    Args:
        factor: by `conformal_factor`, or None.
        calibration: of the confidence, from which the factor follows if there is no other; None
            if the network is not calibrated.
    """
    if factor is not None or calibration is None:
        return factor
    return radius_factor(calibration)


@dataclass(frozen=True)
class Regions:
    """How often the 95 % regions hold the truth, and how large they are.

    Args:
        landmarks: number of landmarks with a region and a truth.
        fraction_held: fraction of them that lie in their regions; NaN if there are none.
        median_area_mm2: median area of the regions, square millimetres; NaN if there are none.
    """

    landmarks: int
    fraction_held: float
    median_area_mm2: float

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values. They are None if there are no landmarks."""
        known = self.landmarks > 0
        return {
            "landmarks": self.landmarks,
            "held_percent": 100 * self.fraction_held if known else None,
            "median_area_mm2": self.median_area_mm2 if known else None,
        }


def measure_regions(radius_mm: FloatArray, errors_mm: FloatArray) -> Regions:
    """Compare the radii of regions with errors.

    Args:
        radius_mm: radii, of any shape; NaN where unknown.
        errors_mm: radial errors, of the same shape; NaN where the truth is missing.
    """
    known = np.isfinite(radius_mm) & np.isfinite(errors_mm)
    if not known.any():
        return Regions(0, math.nan, math.nan)
    return Regions(
        int(known.sum()),
        float((errors_mm[known] <= radius_mm[known]).mean()),
        float(np.median(np.pi * radius_mm[known].astype(np.float64) ** 2)),
    )


def format_regions(found: Regions) -> str:
    """Format the figures as a line for the terminal."""
    return (
        f"{RADIUS_PROBABILITY:.0%} regions: {found.fraction_held:.1%} of {found.landmarks}"
        f" landmarks lie in theirs; median area {found.median_area_mm2:.1f} mm²"
    )
