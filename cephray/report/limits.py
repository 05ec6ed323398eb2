"""Section of the report on the values of measurements: limits of agreement and their plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cephray.clinical import MEASUREMENTS, Measurement, compare_values
from cephray.data import Record
from cephray.drawing import draw_agreement
from cephray.evaluation import Errors, Evaluation
from cephray.report.cells import signed
from cephray.report.page import Cell, Gallery, Picture, Section, Table, Text, png_uri


def limits_sections(
    evaluation: Evaluation, records: Sequence[Record], folder: Path
) -> list[Section]:
    """Make the section on the values of measurements, if the landmarks allow them.

    Args:
        evaluation: of the records.
        records: films with their truth, and with the marks of their readers.
        folder: folder for the plots.
    """
    predicted_px = np.stack([detection.refined_px for detection in evaluation.detections])
    comparisons = compare_values(records, predicted_px, evaluation.landmarks)
    if not comparisons:
        return []
    limits = [comparison.limits() for comparison in comparisons]
    rows, pictures = [], []
    for i, measurement in enumerate(MEASUREMENTS):
        cells = [Cell(_range(of_all[i], measurement)) for of_all in limits]
        rows.append((Cell(f"{measurement.name} ({measurement.unit})", measurement.title), *cells))
        path = folder / f"agreement-{measurement.name}.png"
        first = comparisons[0]
        own, *others = (of_all[i] for of_all in limits)
        draw_agreement(path, first.means[:, i], first.differences[:, i], own, others)
        pictures.append(Picture(f"{measurement.name} ({measurement.unit})", png_uri(path)))
    columns = ("mean difference (limits)", *(comparison.title for comparison in comparisons))
    return [
        Section(
            "Limits of agreement",
            (
                Text(
                    "Mean difference of a measurement between the two sides, and in brackets the"
                    " limits between which 95\N{NO-BREAK SPACE}% of the differences lie"
                    " (Bland and Altman 1986)."
                ),
                Table(columns, tuple(rows)),
                Text(
                    f"Differences, {comparisons[0].title}, against the mean of the two sides: a"
                    " dot a film. Orange: mean difference and limits; grey and dashed: those of"
                    " the readers with each other."
                ),
                Gallery(tuple(pictures), "small"),
            ),
        )
    ]


def _range(limits: Errors, measurement: Measurement) -> str:
    """Return the mean difference and the limits [3] in words."""
    if not np.isfinite(limits).all():
        return "–"
    bias, low, high = (signed(value, 3 if measurement.unit == "ratio" else 1) for value in limits)
    return f"{bias} ({low} to {high})"
