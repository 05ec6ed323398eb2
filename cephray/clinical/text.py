"""Measures of films, and the list of analyses, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cephray.clinical.analysis import Analysis
from cephray.clinical.measures import MEASUREMENTS
from cephray.clinical.readings import CHALLENGE, CHALLENGE_TITLE
from cephray.landmarks import LandmarkSet

_UNITS = {"degree": "°", "mm": "mm", "ratio": "", "percent": "%"}
_DIGITS = {"ratio": 3}  # of other units: 1


def format_measures(measures: Sequence[dict[str, Any]]) -> str:
    """Format the measures of one film by one analysis.

    Args:
        measures: as `read_analysis` and `read_challenge` return them.

    Returns:
        A table with name, value, ± one standard deviation, unit, norm with the deviation from it,
        and class with its probability. Columns without content are left out.
    """
    rows = []
    for one in measures:
        digits = _DIGITS.get(one["unit"], 1)
        value = "–" if one["value"] is None else f"{one['value']:.{digits}f}"
        sd = "" if one["sd"] is None else f"{one['sd']:.{digits}f}"
        norms = "; ".join(_norm(norm, digits) for norm in one.get("norms", ()))
        rows.append((one["name"], value, sd, _UNITS[one["unit"]], norms, _class(one)))
    header = ("measure", "value", "±", "unit", "norm (deviation)", "class")
    return _table(header, rows, right=(1, 2))


def format_analysis(analysis: Analysis, landmarks: LandmarkSet) -> str:
    """Format an analysis as a list of its measures with unit, title and points.

    Args:
        analysis: the analysis.
        landmarks: set of landmarks. Points that it lacks are named.
    """
    rows = []
    for measure in analysis.measures:
        points = analysis.points_of(measure)
        lacking = [point for point in points if landmarks.find(point) is None]
        cells = (measure.name, measure.unit, measure.title, " ".join(points), " ".join(lacking))
        rows.append(cells)
    table = _table(("measure", "unit", "title", "points", "missing"), rows)
    return f"{analysis.name}: {analysis.title} ({analysis.source})\n{table}"


def format_challenge() -> str:
    """Format the challenge's measurements as a list with unit, title and classes."""
    rows = [(one.name, one.unit, one.title, ", ".join(one.meanings)) for one in MEASUREMENTS]
    table = _table(("measure", "unit", "title", "classes"), rows)
    return f"{CHALLENGE}: {CHALLENGE_TITLE}\n{table}"


def _norm(norm: dict[str, Any], digits: int) -> str:
    spread = "" if norm["sd"] is None else f" ± {norm['sd']:g}"
    group = f" {norm['for']}" if norm["for"] else ""
    if norm["difference_sd"] is not None:
        deviation = f" ({norm['difference_sd']:+.1f} SD)"
    elif norm["difference"] is not None:
        deviation = f" ({norm['difference']:+.{digits}f})"
    else:
        deviation = ""
    return f"{norm['mean']:g}{spread}{group}{deviation}"


def _class(one: dict[str, Any]) -> str:
    if "class" not in one:
        return ""
    probability = one["class_probability"]
    certainty = "" if probability is None else f" ({probability:.0%})"
    return f"{one['meaning']}{certainty}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Align columns, and leave out those without content.

    Args:
        header: titles of the columns.
        rows: their cells.
        right: columns that are aligned on the right.
    """
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    widths = {i: max(len(row[i]) for row in (header, *rows)) for i in kept}
    lines = (
        "  ".join(f"{row[i]:{'>' if i in right else '<'}{widths[i]}}" for i in kept)
        for row in (header, *rows)
    )
    return "\n".join(f"  {line}".rstrip() for line in lines)
