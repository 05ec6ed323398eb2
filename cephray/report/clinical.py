"""Sections of the report on measurements' classes, on confidence and on regions.

It makes sections of an evaluation; each is left out where nothing is known of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from cephray.clinical import (
    MEASUREMENTS,
    ClassAgreement,
    ClassComparison,
    ClassRecall,
    MeasurementAgreement,
)
from cephray.evaluation import Evaluation
from cephray.metrics import LIMIT_MM, RADIUS_PROBABILITY, Band, Regions
from cephray.report.cells import number
from cephray.report.page import Cell, Section, Table, Text


def clinical_sections(evaluation: Evaluation) -> list[Section]:
    """Make the sections that there is something to say in."""
    sections = []
    if evaluation.classes:
        sections.append(_classes(evaluation.classes))
    if evaluation.confidence:
        sections.append(_confidence(evaluation.confidence))
    if evaluation.regions is not None and evaluation.regions.landmarks:
        sections.append(_regions(evaluation.regions))
    return sections


def _classes(comparisons: Sequence[ClassComparison]) -> Section:
    titles = {measurement.name: measurement.title for measurement in MEASUREMENTS}
    agreements = [comparison.agreement for comparison in comparisons]
    rows = [
        (Cell(row[0].name, titles[row[0].name]), *map(_agreement, row))
        for row in zip(*(agreement.measurements for agreement in agreements), strict=True)
    ]
    rows.append((Cell("All"), *map(_agreement, agreements)))
    columns = ("films in the same class (%)", *(comparison.title for comparison in comparisons))
    return Section(
        "Clinical measurements",
        (
            Table(columns, tuple(rows), total=True),
            Text(
                f"Class by class, {comparisons[0].title}: of the films that are of a class, the"
                " share that was put into it."
            ),
            _recalls(agreements[0]),
        ),
    )


def _recalls(agreement: ClassAgreement) -> Table:
    rows = tuple(
        (
            Cell(f"{measurement.name}: {recall.meaning}"),
            Cell(str(recall.films)),
            Cell(str(recall.agreeing)),
            Cell(_recall(recall)),
        )
        for measurement in agreement.measurements
        for recall in measurement.classes
    )
    return Table(("class", "films", "found", "found (%)"), rows)


def _confidence(found: Sequence[Band]) -> Section:
    rows = tuple(
        (
            Cell(f"{band.low:.0%} to {band.high:.0%}"),
            Cell(str(band.landmarks)),
            Cell(number(100 * band.mean_confidence, 1)),
            Cell(number(100 * band.fraction_within, 1)),
        )
        for band in found
    )
    columns = ("confidence", "landmarks", "mean confidence (%)", f"within {LIMIT_MM:g} mm (%)")
    return Section(
        "Confidence",
        (
            Text(
                "With each landmark comes the probability that it lies within"
                f" {LIMIT_MM:g} mm of the truth. Where the two last columns agree, it can be"
                " trusted."
            ),
            Table(columns, rows),
        ),
    )


def _regions(found: Regions) -> Section:
    return Section(
        "Regions",
        (
            Text(
                "Around each landmark there is a circle in which the truth lies with a probability"
                f" of {RADIUS_PROBABILITY:.0%}. Of {found.landmarks} landmarks,"
                f" {number(100 * found.fraction_held, 1)} % lie in theirs. The median area is"
                f" {number(found.median_area_mm2, 1)} mm²."
            ),
        ),
    )


def _agreement(agreement: MeasurementAgreement | ClassAgreement) -> Cell:
    percent = agreement.agreement_percent
    return Cell("–" if percent is None else number(percent, 1))


def _recall(recall: ClassRecall) -> str:
    return number(100 * recall.agreeing / recall.films, 1) if recall.films else "–"
