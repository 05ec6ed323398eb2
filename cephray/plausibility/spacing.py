"""Pixel spacing: which values are possible for a film, the one rule for every source of a spacing.

The sources are DICOM elements, `--spacing`, `spacing.csv` and `data.spacing_mm`.
"""

from __future__ import annotations

import math

FILM_HEIGHT_MM = (100.0, 600.0)
"""Least and greatest height of a film. Cephalograms are 180 to 300 mm high."""

# Factors to millimetres per pixel for values that were written in another unit.
_UNITS = {"micrometres": 1e-3, "metres": 1e3, "centimetres": 10.0}


def spacing_fault(spacing_mm: float, height_px: int) -> str | None:
    """Return why a spacing is impossible for a film.

    Args:
        spacing_mm: millimetres per pixel.
        height_px: height of the film, pixels.

    Returns:
        The reason, or None if the spacing is possible.
    """
    if not (math.isfinite(spacing_mm) and spacing_mm > 0):
        return f"a spacing of {spacing_mm:g} mm per pixel is not a positive number"
    low, high = FILM_HEIGHT_MM
    height_mm = spacing_mm * height_px
    if low <= height_mm <= high:
        return None
    return (
        f"a spacing of {spacing_mm:g} mm per pixel makes a film of {height_px} pixels"
        f" {height_mm:g} mm high, and films are {low:g} to {high:g} mm high{_hint(height_mm)}"
    )


def _hint(height_mm: float) -> str:
    """Name the units in which the value would be possible."""
    low, high = FILM_HEIGHT_MM
    units = [name for name, factor in _UNITS.items() if low <= height_mm * factor <= high]
    return f" (was it written in {' or '.join(units)}?)" if units else ""
