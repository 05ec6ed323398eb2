"""Bootstrap intervals of error figures.

The bootstrap resamples films, since the errors of landmarks on one film are correlated. It knows
radial errors as NumPy arrays, but not where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.metrics.radial_error import SDR_RANGES_MM, Summary, summarise

RESAMPLES, LEVEL_PERCENT, SEED = 10_000, 95.0, 0
_BLOCK = 2**20  # films drawn at a time

Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A summary of the errors on a set of films, with bootstrap intervals.

    The intervals are percentiles over the resampled sets. They are missing if fewer than two
    films have landmarks.

    Args:
        films: number of films.
        summary: summary of all errors.
        mre_mm: interval of the mean radial error, or None.
        sdr_percent: interval of each success detection rate, by its range in millimetres; empty
            if missing.
    """

    films: int
    summary: Summary
    mre_mm: Interval | None
    sdr_percent: dict[float, Interval]

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as JSON values. Missing figures are None."""
        return {
            "films": self.films,
            **self.summary.to_json(),
            "mre_mm_interval": list(self.mre_mm) if self.mre_mm else None,
            "sdr_percent_interval": {str(k): list(v) for k, v in self.sdr_percent.items()} or None,
        }


def estimate(
    errors_mm: NDArray[np.floating[Any]], resamples: int = RESAMPLES, seed: int = SEED
) -> Estimate:
    """Summarise radial errors with bootstrap intervals.

    Args:
        errors_mm: [N, K], millimetres; NaN where a landmark is missing.
        resamples: number of resampled sets of films.
        seed: seed of the random numbers.

    Returns:
        The summary and its intervals, at a level of `LEVEL_PERCENT`.
    """
    summary = summarise(errors_mm)
    present = ~np.isnan(errors_mm)
    sums = np.stack(
        [
            present.sum(axis=1),
            np.where(present, errors_mm, 0).sum(axis=1),
            *((errors_mm <= limit).sum(axis=1) for limit in SDR_RANGES_MM),
        ],
        axis=1,
    )[present.any(axis=1)]  # [n, 2 + ranges]: count, sum of errors, count within each range
    if len(sums) < 2:
        return Estimate(len(errors_mm), summary, None, {})
    drawn = resampled_sums(sums.astype(np.float64), resamples, seed)
    means = drawn[:, 1:] / drawn[:, :1]  # [resamples, 1 + ranges]
    tail = (100 - LEVEL_PERCENT) / 2
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    return Estimate(
        films=len(errors_mm),
        summary=summary,
        mre_mm=(float(low[0]), float(high[0])),
        sdr_percent={
            limit: (float(100 * low[i]), float(100 * high[i]))
            for i, limit in enumerate(SDR_RANGES_MM, 1)
        },
    )


def resampled_sums(
    sums: NDArray[np.float64], resamples: int, seed: int, block: int = _BLOCK
) -> NDArray[np.float64]:
    """Draw n of n films with replacement, and add up their values.

    Args:
        sums: [n, m], m values of each film.
        resamples: number of times that n films are drawn.
        seed: seed of the random numbers.
        block: number of films drawn at a time. It limits the memory and does not affect the
            result.

    Returns:
        [resamples, m], the sums over the drawn films.
    """
    count = len(sums)
    rng = np.random.default_rng(seed)
    at_once = max(1, block // count)
    parts = []
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        parts.append(times @ sums)
    return np.concatenate(parts)
