"""Spacing of a DICOM film: the choice of its element, and the correction for magnification.

It knows elements and the film's height, but no pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from pydicom import Dataset

from cephray.plausibility import spacing_fault

# By PS3.3, 10.7, Pixel Spacing refers to the patient if it was calibrated, with an object of known
# size or by the magnification. Otherwise it equals one of the other two elements. Imager Pixel
# Spacing refers to the detector, on which lengths are magnified by 5 to 15 %. Nominal Scanned
# Pixel Spacing refers to a film that was scanned.
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_DETECTOR = "ImagerPixelSpacing"
_FACTOR = "EstimatedRadiographicMagnificationFactor"
_DISTANCES = ("DistanceSourceToDetector", "DistanceSourceToPatient")
_CALIBRATED = "PixelSpacingCalibrationType"

ELEMENTS = (*SPACINGS, _FACTOR, *_DISTANCES, _CALIBRATED, "PixelAspectRatio")

_LARGEST_FACTOR = 2.0  # cephalometric devices magnify by 1.05 to 1.15
_SAME = 1e-3  # relative difference up to which spacings are equal, except for rounding


class Pair(NamedTuple):
    """The spacings of rows and columns (PS3.3, 10.7.1.3), and the element that they are from."""

    row_mm: float
    column_mm: float
    source: str


def find_spacing(dataset: Dataset, height_px: int) -> tuple[Pair | None, tuple[str, ...]]:
    """Choose the spacing of a film.

    Args:
        dataset: elements of the film.
        height_px: number of rows of the film.

    Returns:
        The first possible spacing, or None, and notes. There is a note on each spacing that was
        ignored, and a note if the spacing refers to the detector.
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
    """Return the height and width of a pixel, in any unit; 1 and 1 if the file lacks them."""
    for keyword in (*SPACINGS, "PixelAspectRatio"):
        pair = _positive_pair(_get(dataset, keyword))
        if pair is not None:
            return pair
    return 1.0, 1.0


def _in_the_patient(pair: Pair, dataset: Dataset) -> tuple[Pair, list[str]]:
    """Convert a spacing at the detector to one in the patient, if the magnification is known.

    Returns:
        The spacing, and notes. There is a note on each magnification that was ignored, and a note
        if none is known.
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
        f"{pair.source} is the spacing at the detector, and the magnification is unknown: lengths"
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
    """Yield the magnifications in the file, each with the names of its elements."""
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
        return ""  # present, but not a number
    return None if value == "" else value


def _number(dataset: Dataset, keyword: str) -> float | None:
    try:
        return float(_get(dataset, keyword))
    except (TypeError, ValueError):
        return None


def _positive_pair(value: Any) -> tuple[float, float] | None:
    """Return the two positive numbers of a value, or None if it is anything else."""
    try:
        first, second = (float(number) for number in value)
    except (TypeError, ValueError):
        return None
    if not (np.isfinite([first, second]).all() and min(first, second) > 0):
        return None
    return first, second
