"""Robustness: a checkpoint's error on films as other scanners would have made them.

It measures and lays out; what is done to a film is in `disturb.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.data import Film, Record, View, check_spacing, read_pixels, view_film
from cephray.evaluation.disturb import DISTURBANCES, Disturb, Shot
from cephray.evaluation.evaluation import stage_offsets_mm
from cephray.metrics import Summary, summarise
from cephray.prediction import Detector

SEED = 0


@dataclass(frozen=True)
class Row:
    """The errors on films with one disturbance.

    Args:
        disturbance: its name.
        landmarks: that are on the disturbed films.
        coarse: errors of stage one on them.
        refined: errors after refinement.
        ratio: of the refined mean radial error to that of the same landmarks on the films as
            they are.
        median_ratio: the same of the median of the refined errors.
        p99_ratio: the same of their 99th percentile, the error of the worst landmarks.
    """

    disturbance: str
    landmarks: int
    coarse: Summary
    refined: Summary
    ratio: float
    median_ratio: float
    p99_ratio: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "disturbance": self.disturbance,
            "landmarks": self.landmarks,
            "ratio": self.ratio,
            "median_ratio": self.median_ratio,
            "p99_ratio": self.p99_ratio,
            **self.refined.to_json(),
            "coarse": self.coarse.to_json(),
        }


def measure_robustness(
    detector: Detector,
    records: Sequence[Record],
    progress: Callable[[int], None] = lambda films: None,
) -> list[Row]:
    """Measure the errors on disturbed films, each disturbance alone.

    Args:
        detector: the network.
        records: films with their truth.
        progress: called with the number of films done since the last call, of
            `len(DISTURBANCES)` times as many.

    Raises:
        InputError: a film cannot be decoded.
    """
    rows: list[Row] = []
    plain_mm: NDArray[np.floating[Any]] = np.empty(0)
    for name, disturb in DISTURBANCES.items():
        detections = list(detector.detect(_disturbed(records, disturb, detector.view), progress))
        coarse_mm, refined_mm = (
            np.linalg.norm(offsets_mm, axis=-1) for offsets_mm in stage_offsets_mm(detections)
        )
        if not rows:
            plain_mm = refined_mm
        there = np.isfinite(refined_mm)
        rows.append(
            Row(
                name,
                int(there.sum()),
                summarise(coarse_mm),
                summarise(refined_mm),
                *_statistics(refined_mm[there]) / _statistics(plain_mm[there]),
            )
        )
    return rows


def format_rows(rows: Sequence[Row]) -> str:
    """Format the rows as a table."""
    width = max(len(row.disturbance) for row in rows)
    header = f"{'films':<{width}}  {'landmarks':>9}  {'stage one':>9}  {'refined':>8}"
    header += f"  {'≤2 mm':>7}  {'to plain':>8}  {'median':>8}  {'99th %':>8}"
    lines = [
        f"{row.disturbance:<{width}}  {row.landmarks:>9}  {row.coarse.mre_mm:>6.2f} mm"
        f"  {row.refined.mre_mm:>5.2f} mm  {row.refined.sdr_percent[2.0]:>5.1f} %"
        f"  {row.ratio:>6.2f} ×  {row.median_ratio:>6.2f} ×  {row.p99_ratio:>6.2f} ×"
        for row in rows
    ]
    return "\n".join([header, "─" * len(header), *lines])


def _statistics(errors_mm: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return mean, median and 99th percentile, or NaN if there are no errors."""
    if not errors_mm.size:
        return np.full(3, np.nan)
    return np.array([errors_mm.mean(), *np.percentile(errors_mm, (50, 99))])


def _disturbed(records: Sequence[Record], disturb: Disturb, view: View) -> Iterator[Film]:
    """Read and disturb the films one after the other, each in its own way."""
    for number, record in enumerate(records):
        image = read_pixels(record.image_path)
        check_spacing(record, (image.shape[1], image.shape[0]))
        shot = Shot(image, record.landmarks_px, record.spacing_mm)
        image, landmarks_px, spacing_mm = disturb(shot, np.random.default_rng([SEED, number]))
        yield view_film(record.film, image, landmarks_px, spacing_mm, view)
