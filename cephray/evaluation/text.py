"""Text of an evaluation for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from cephray.clinical import ClassAgreement, MeasurementAgreement
from cephray.evaluation.evaluation import Evaluation
from cephray.metrics import (
    LEVEL_PERCENT,
    RESAMPLES,
    SDR_RANGES_MM,
    Estimate,
    Interval,
    format_bands,
    format_regions,
    format_table,
)

_SHOWN_MM = 2.0  # range that the field compares by; the others are in the JSON


def format_evaluation(evaluation: Evaluation) -> str:
    """Format the errors of each landmark, then the intervals, subsets and readers."""
    coarse, refined = evaluation.coarse.summary, evaluation.refined.summary
    parts = [
        format_table(evaluation.landmarks.names, evaluation.refined_mm),
        f"MRE of stage one {coarse.mre_mm:.2f} mm, after refinement {refined.mre_mm:.2f} mm",
        "\n".join(_stages(evaluation)),
        "\n".join(_comparisons(evaluation)),
    ]
    if evaluation.classes:
        parts.append("\n".join(_classes(evaluation)))
    if evaluation.confidence:
        parts.append(format_bands(evaluation.confidence))
    if evaluation.regions is not None:
        parts.append(format_regions(evaluation.regions))
    if evaluation.doubtful:
        parts.append("\n".join(_doubtful(evaluation)))
    if evaluation.righted:
        parts.append("\n".join(_righted(evaluation)))
    return "\n\n".join(parts)


def with_interval(value: float, interval: Interval | None, digits: int) -> str:
    """Write a figure and its interval."""
    span = f" [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]" if interval else ""
    return f"{value:.{digits}f}{span}"


def mre(found: Estimate) -> str:
    """Write the mean radial error, mm."""
    return with_interval(found.summary.mre_mm, found.mre_mm, 2)


def rate(found: Estimate, limit_mm: float) -> str:
    """Write the success detection rate at a range, %."""
    rates = found.summary.sdr_percent
    return with_interval(rates[limit_mm], found.sdr_percent.get(limit_mm), 1)


def _stages(evaluation: Evaluation) -> Iterator[str]:
    level = f"{LEVEL_PERCENT:g} % intervals"
    yield f"{level:<20}{'refined':>22}{'stage one':>22}"
    stages = (evaluation.refined, evaluation.coarse)
    yield f"{'MRE (mm)':<20}" + "".join(f"{mre(stage):>22}" for stage in stages)
    for limit in SDR_RANGES_MM:
        name = f"within {limit:g} mm (%)"
        yield f"{name:<20}" + "".join(f"{rate(stage, limit):>22}" for stage in stages)
    yield f"percentiles of {RESAMPLES} bootstrap samples of the films"


def _comparisons(evaluation: Evaluation) -> Iterator[str]:
    rows = [("all", evaluation.refined)]
    rows += [(subset.title, refined) for subset, refined, _ in evaluation.subsets]
    rows += [(readers.title, found) for readers, found in evaluation.reader_estimates]
    width = max(len(title) for title, _ in rows)
    within = f"within {_SHOWN_MM:g} mm (%)"
    yield f"{'':<{width}}{'films':>7}{'MRE (mm)':>20}{within:>22}"
    for title, found in rows:
        yield f"{title:<{width}}{found.films:>7}{mre(found):>20}{rate(found, _SHOWN_MM):>22}"


def _classes(evaluation: Evaluation) -> Iterator[str]:
    """Format the agreement of classes: rows are measurements, columns comparisons."""
    comparisons = evaluation.classes
    width = max(len(comparison.title) for comparison in comparisons) + 2
    yield f"{'classes agree (%)':<20}" + "".join(f"{c.title:>{width}}" for c in comparisons)
    for rows in zip(
        *(comparison.agreement.measurements for comparison in comparisons), strict=True
    ):
        yield f"{rows[0].name:<20}" + "".join(f"{_share(row):>{width}}" for row in rows)
    yield f"{'all':<20}" + "".join(f"{_share(c.agreement):>{width}}" for c in comparisons)


def _doubtful(evaluation: Evaluation) -> Iterator[str]:
    """List the doubtful films with their reasons. They count in all figures."""
    yield f"doubtful films: {len(evaluation.doubtful)} of {len(evaluation.films)}"
    for film, reasons in evaluation.doubtful.items():
        yield f"  {film}: {'; '.join(reasons)}"


def _righted(evaluation: Evaluation) -> Iterator[str]:
    yield f"films that were righted: {len(evaluation.righted)} of {len(evaluation.films)}"
    for film, orientation in evaluation.righted.items():
        yield f"  {film}: {orientation}"


def _share(agreement: MeasurementAgreement | ClassAgreement) -> str:
    percent = agreement.agreement_percent
    return "–" if percent is None else f"{percent:.1f}"
