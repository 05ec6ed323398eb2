"""Spacing of a DICOM film: which element it is from, and how it is corrected for magnification.

It knows elements and the film's height, and no pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from pydicom import Dataset

from cephray.plausibility import spacing_fault

# PS3.3, 10.7. Pixel Spacing is the distance in the patient if it was calibrated, with an object of
# known size or for the magnification. If it was not calibrated, it equals the other two: Imager
# Pixel Spacing is the distance at the detector, which a magnification of 5 to 15 % enlarges, as on
# any film; Nominal Scanned Pixel Spacing is that on the film that was scanned.
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_DETECTOR = "ImagerPixelSpacing"
_FACTOR = "EstimatedRadiographicMagnificationFactor"
_DISTANCES = ("DistanceSourceToDetector", "DistanceSourceToPatient")
_CALIBRATED = "PixelSpacingCalibrationType"

ELEMENTS = (*SPACINGS, _FACTOR, *_DISTANCES, _CALIBRATED, "PixelAspectRatio")

_LARGEST_FACTOR = 2.0  # cephalometric units have 1.05 to 1.15
_SAME = 1e-3  # spacings that differ by less are one, written with different roundings


class Pair(NamedTuple):
    """A spacing, rows then columns (PS3.3, 10.7.1.3), and the element that it is from."""

    row_mm: float
    column_mm: float
    source: str


def find_spacing(dataset: Dataset, height_px: int) -> tuple[Pair | None, tuple[str, ...]]:
    """Choose the spacing of a film.

    Args:
        dataset: the elements of the film.
        height_px: its rows.

    Returns:
        The first possible spacing, or None; and a note on each that was left out, and on one that
        is known at the detector only.
    """
    notes: list[str] = []
    for keyword in SPACINGS:
        value = _get(dataset, keyword)
        if value is None:
            continue
        numbers = _positive_pair(value)
        if numbers is None:
            notes.append(f"{keyword} left out: it is not two positive numbers")
            continue
        pair, remarks = _in_the_patient(Pair(*numbers, keyword), dataset)
        fault = spacing_fault(pair.row_mm, height_px)
        if fault is None:
            return pair, (*notes, *remarks)
        notes.append(f"{pair.source} left out: {fault}")
    return None, tuple(notes)


def pixel_shape(dataset: Dataset) -> tuple[float, float]:
    """Return height and width of a pixel in any unit, for a film without a possible spacing."""
    for keyword in (*SPACINGS, "PixelAspectRatio"):
        pair = _positive_pair(_get(dataset, keyword))
        if pair is not None:
            return pair
    return 1.0, 1.0


def _in_the_patient(pair: Pair, dataset: Dataset) -> tuple[Pair, list[str]]:
    """Divide a spacing at the detector by the magnification, if that is known.

    Returns:
        The spacing; and a note on each magnification that was left out, and if none is known.
    """
    notes: list[str] = []
    if not _is_at_the_detector(pair, dataset):
        return pair, notes
    for name, factor in _factors(dataset):
        if 1 <= factor <= _LARGEST_FACTOR:
            source = f"{pair.source} / {name}"
            return Pair(pair.row_mm / factor, pair.column_mm / factor, source), notes
        notes.append(
            f"{name} left out: a magnification of {factor:g} is not between 1 and"
            f" {_LARGEST_FACTOR:g}"
        )
    notes.append(
        f"{pair.source} is the spacing at the detector and the magnification is not known: lengths"
        " in millimetres are too large, usually by 5 to 15 %"
    )
    return pair, notes


def _is_at_the_detector(pair: Pair, dataset: Dataset) -> bool:
    if pair.source == _DETECTOR:
        return True
    detector = _positive_pair(_get(dataset, _DETECTOR))
    if pair.source != "PixelSpacing" or detector is None or _get(dataset, _CALIBRATED):
        return False
    return max(abs(a / b - 1) for a, b in zip(pair[:2], detector, strict=True)) < _SAME


def _factors(dataset: Dataset) -> Iterator[tuple[str, float]]:
    """Yield the magnifications that the file tells, each with the elements it is from."""
    factor = _number(dataset, _FACTOR)
    if factor is not None:
        yield _FACTOR, factor
    detector_mm, patient_mm = (_number(dataset, keyword) for keyword in _DISTANCES)
    if detector_mm is not None and patient_mm is not None:
        name = f"({' / '.join(_DISTANCES)})"
        yield name, detector_mm / patient_mm if patient_mm else float("inf")


def _get(dataset: Dataset, keyword: str) -> Any:
    """Return an element's value, or None if it is absent, empty or damaged."""
    try:
        value = dataset.get(keyword)
    except (TypeError, ValueError, ArithmeticError):
        return ""  # there, and not a number
    return None if value == "" else value


def _number(dataset: Dataset, keyword: str) -> float | None:
    try:
        return float(_get(dataset, keyword))
    except (TypeError, ValueError):
        return None


def _positive_pair(value: Any) -> tuple[float, float] | None:
    """Return two positive numbers, or None if a file has something else."""
    try:
        first, second = (float(number) for number in value)
    except (TypeError, ValueError):
        return None
    if not (np.isfinite([first, second]).all() and min(first, second) > 0):
        return None
    return first, second
