"""Bootstrap intervals of errors over films.

Landmarks of one film err together, so that films are drawn, not landmarks: as many as there are,
with replacement. It knows radial errors as NumPy arrays, and nothing of where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.metrics.radial_error import SDR_RANGES_MM, Summary, summarise

RESAMPLES, LEVEL_PERCENT, SEED = 10_000, 95.0, 0
_BLOCK = 2**20  # draws at a time

Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A summary of the errors on some films, and the interval of each of its means.

    The intervals are percentiles of the same figure over resampled films; they are missing where
    fewer than two films have landmarks.
    """

    films: int
    summary: Summary
    mre_mm: Interval | None
    sdr_percent: dict[float, Interval]

    def to_json(self) -> dict[str, Any]:
        """Return plain values; what is missing is null."""
        return {
            "films": self.films,
            **self.summary.to_json(),
            "mre_mm_interval": list(self.mre_mm) if self.mre_mm else None,
            "sdr_percent_interval": {str(k): list(v) for k, v in self.sdr_percent.items()} or None,
        }


def estimate(
    errors_mm: NDArray[np.floating[Any]], resamples: int = RESAMPLES, seed: int = SEED
) -> Estimate:
    """Summarise radial errors with intervals.

    Args:
        errors_mm: [N, K], millimetres; NaN where a landmark is missing.
        resamples: times that films are drawn.
        seed: of the draws.
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
    """Draw films with replacement, and add up what each has.

    Args:
        sums: [n, m], of each film.
        resamples: times that n films are drawn.
        seed: of the draws.
        block: films drawn at a time; it bounds the memory, and changes nothing else.

    Returns:
        [resamples, m].
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
