"""Figures of landmark detection: mean radial error, standard deviation, success detection rates.

It knows radial errors in millimetres as NumPy arrays, but no models or files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SDR_RANGES_MM = (2.0, 2.5, 3.0, 4.0)
"""Ranges of the success detection rate in the ISBI 2015 challenge, millimetres."""


@dataclass(frozen=True)
class Summary:
    """Summary of a set of radial errors, without missing landmarks.

    Args:
        mre_mm: mean radial error, millimetres.
        sd_mm: population standard deviation of the errors, millimetres.
        sdr_percent: success detection rates, by their range in millimetres: the percentage of
            errors that are smaller than the range or equal to it.
    """

    mre_mm: float
    sd_mm: float
    sdr_percent: dict[float, float]

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values. NaN becomes None."""
        return {
            "mre_mm": _finite(self.mre_mm),
            "sd_mm": _finite(self.sd_mm),
            "sdr_percent": {str(k): _finite(v) for k, v in self.sdr_percent.items()},
        }


def summarise(errors_mm: NDArray[np.floating[Any]]) -> Summary:
    """Summarise radial errors.

    Args:
        errors_mm: errors in millimetres, of any shape; NaN where a landmark is missing.

    Returns:
        The summary. All its values are NaN if all landmarks are missing.
    """
    present = errors_mm[~np.isnan(errors_mm)].astype(np.float64)
    if present.size == 0:
        return Summary(math.nan, math.nan, dict.fromkeys(SDR_RANGES_MM, math.nan))
    return Summary(
        float(present.mean()),
        float(present.std()),
        {limit: float(100.0 * np.mean(present <= limit)) for limit in SDR_RANGES_MM},
    )


def summarise_landmarks(errors_mm: NDArray[np.floating[Any]]) -> list[Summary]:
    """Summarise the radial errors of each landmark.

    Args:
        errors_mm: [N, K], millimetres; NaN where a landmark is missing.

    Returns:
        K summaries.
    """
    return [summarise(column) for column in errors_mm.T]


def format_table(names: Sequence[str], errors_mm: NDArray[np.floating[Any]]) -> str:
    """Format errors as a table with a row for each landmark and a row for the average.

    The columns are those of the published test script.

    Args:
        names: K landmark names.
        errors_mm: [N, K], millimetres; NaN where a landmark is missing.
    """
    width = max(len("Landmark"), *(len(name) for name in names))
    header = f"{'Landmark':<{width}}  {'MRE ± SD (mm)':>15}" + "".join(
        f"  {f'≤{limit:g} mm':>8}" for limit in SDR_RANGES_MM
    )
    rule = "─" * len(header)

    def row(name: str, summary: Summary) -> str:
        rates = "".join(f"  {rate:8.2f}" for rate in summary.sdr_percent.values())
        return f"{name:<{width}}  {summary.mre_mm:7.2f} ± {summary.sd_mm:5.2f}{rates}"

    rows = [
        row(name, summary)
        for name, summary in zip(names, summarise_landmarks(errors_mm), strict=True)
    ]
    average = row("Average", summarise(errors_mm))
    return "\n".join([header, rule, *rows, rule, average])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
