"""Numbers and intervals as the tables of the report show them."""

from __future__ import annotations

import math

from cephray.metrics import SDR_RANGES_MM, Estimate, Interval
from cephray.report.page import Cell

WITHIN = tuple(f"≤\N{NO-BREAK SPACE}{limit:g}\N{NO-BREAK SPACE}mm (%)" for limit in SDR_RANGES_MM)
"""Headings of the success detection rates."""


def mre_cell(found: Estimate) -> Cell:
    """Return the mean radial error, mm."""
    return Cell(number(found.summary.mre_mm, 2), span(found.mre_mm, 2))


def rate_cell(found: Estimate, limit_mm: float) -> Cell:
    """Return the success detection rate at a range, %."""
    interval = span(found.sdr_percent.get(limit_mm), 1)
    return Cell(number(found.summary.sdr_percent[limit_mm], 1), interval)


def in_words(cell: Cell) -> str:
    """Return a figure and its interval for a sentence."""
    return f"{cell.text} {cell.note}".rstrip()


def number(value: float, digits: int) -> str:
    """Write a number; a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def signed(value: float, digits: int) -> str:
    """Write a number with its sign; a dash where there is none."""
    return f"{value:+.{digits}f}".replace("-", "−") if math.isfinite(value) else "–"


def span(interval: Interval | None, digits: int) -> str:
    """Write an interval; nothing where there is none."""
    return f"[{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]" if interval else ""
