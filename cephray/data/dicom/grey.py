"""Grey values of a DICOM film, by modality transform and VOI table or window as in a viewer.

A table or window that is invalid or leaves too few grey values is ignored with a note. It knows
pixel values and elements, but no files and no spacings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing
from pydicom.valuerep import DSfloat

from cephray.plausibility import FEWEST_GREYS, grey_values

Values = NDArray[Any]  # [n], one entry for each possible pixel value

_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def used_bits(brightest: int) -> int:
    """Return the smallest of 8, 10, 12, 14 and 16 bits that can represent a pixel value.

    Args:
        brightest: largest pixel value of a film, below 2¹⁶.
    """
    return next(bits for bits in (8, 10, 12, 14, 16) if brightest < 2**bits)


def grey_of_values(
    values: NDArray[np.int64], pixels_of_value: NDArray[np.int64], dataset: Dataset
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return the grey value of each pixel value, before the inversion of MONOCHROME1.

    The first table or window that leaves enough grey values is applied. Tables come before
    windows. If there is none, the bits in use are scaled to the range of grey values.

    Args:
        values: [n], all pixel values from the smallest to the largest.
        pixels_of_value: [n], number of pixels with each value.
        dataset: elements of the film.

    Returns:
        Grey values [n], 0 black to 255 white, and a note on each table or window that was
        ignored.
    """
    notes: list[str] = []
    plain = _all_bits(values)
    most = _count(plain, pixels_of_value)
    needed = min(FEWEST_GREYS, most)
    measured = _measured(values, dataset, notes)
    if measured is not values:
        rescaled = _all_bits(measured)
        if _count(rescaled, pixels_of_value) >= needed:
            plain = rescaled
        else:
            measured = values
            notes.append("modality table or rescale left out: it leaves too few grey values")
    for name, shown in _views(measured, dataset, notes):
        greys = _count(shown, pixels_of_value)
        if greys >= needed:
            return shown, tuple(notes)
        notes.append(f"{name} left out: it leaves {greys} of {most} grey values")
    return plain, tuple(notes)


def _count(greys: NDArray[np.uint8], pixels_of_value: NDArray[np.int64]) -> int:
    weights = np.bincount(greys, weights=pixels_of_value, minlength=256)
    return grey_values(weights.astype(np.int64))


def _measured(values: NDArray[np.int64], dataset: Dataset, notes: list[str]) -> Values:
    """Apply the modality table or the rescale elements. Whole numbers become integers."""
    if not dataset.get("ModalityLUTSequence"):
        slope, intercept = (
            _numbers(dataset, name) for name in ("RescaleSlope", "RescaleIntercept")
        )
        if slope is None and intercept is None:
            return values
        if not (slope and intercept and np.isfinite([slope[0], intercept[0]]).all() and slope[0]):
            notes.append("rescale left out: its slope or intercept is missing or impossible")
            return values
    try:
        _as_sixteen_bits(dataset.get("ModalityLUTSequence"))
        measured = apply_modality_lut(values, dataset)
    except Exception:  # pydicom raises errors of any type for damaged tables
        notes.append("modality table left out: it is damaged")
        return values
    if np.array_equal(measured, np.rint(measured)):
        measured = measured.astype(np.int64)  # VOI tables are indexed by integers
    return measured


def _views(
    measured: Values, dataset: Dataset, notes: list[str]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield the name and the grey values of each table and window that can be applied."""
    try:
        tables = list(dataset.get("VOILUTSequence") or ())
    except TypeError:
        tables = []
    for number, table in enumerate(tables, 1):
        name = f"VOI table {number}"
        try:
            bits = _as_sixteen_bits([table])
            one = Dataset()
            one.file_meta = dataset.file_meta
            one.VOILUTSequence = [table]
            shown = _to_grey(apply_voi(measured, one), 0.0, float(2**bits - 1))
        except Exception:  # pydicom raises errors of any type for damaged tables
            notes.append(f"{name} left out: it is damaged")
            continue
        yield name, shown
    yield from _windows(measured, dataset, notes)


def _windows(
    measured: Values, dataset: Dataset, notes: list[str]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    centres, widths = (_numbers(dataset, name) for name in ("WindowCenter", "WindowWidth"))
    if centres is None and widths is None:
        return
    if not centres or not widths:
        notes.append("window left out: its center or width is missing or not a number")
        return
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper().strip()
    if function not in _FUNCTIONS:
        notes.append("unknown VOI LUT function; the window is taken as LINEAR")
        function = "LINEAR"
    for centre, width in zip(centres, widths, strict=False):
        name = f"window with center {centre:g} and width {width:g}"
        # By PS3.3, C.11.2.1.2.1 and C.11.2.1.3, only LINEAR requires a width of at least 1.
        possible = width >= 1 if function == "LINEAR" else width > 0
        if not (possible and np.isfinite([centre, width]).all()):
            notes.append(f"{name} left out: it is impossible")
            continue
        one = Dataset()  # with 8 bits, so that the result is from 0 to 255
        one.PhotometricInterpretation, one.BitsStored, one.PixelRepresentation = (
            "MONOCHROME2",
            8,
            0,
        )
        one.WindowCenter, one.WindowWidth = (
            DSfloat(number, auto_format=True) for number in (centre, width)
        )
        one.VOILUTFunction = function
        with np.errstate(over="ignore"):  # SIGMOID overflows for values far outside the window
            yield name, _to_grey(apply_windowing(measured, one), 0.0, 255.0)


def _all_bits(measured: Values) -> NDArray[np.uint8]:
    """Scale the bits in use to grey values; for negative or fractional values, their range."""
    low, high = float(measured.min()), float(measured.max())
    if low >= 0 and high < 2**16 and np.issubdtype(measured.dtype, np.integer):
        low, high = 0.0, float(2 ** used_bits(int(high)) - 1)
    return _to_grey(measured, low, high)


def _to_grey(shown: Values, low: float, high: float) -> NDArray[np.uint8]:
    fraction = (shown - low) / (high - low if high > low else 1.0)
    return np.rint(255 * np.clip(fraction, 0, 1)).astype(np.uint8)


def _numbers(dataset: Dataset, keyword: str) -> list[float] | None:
    """Return the numbers of an element, or None if it is absent. Other values become NaN."""
    try:
        value = dataset.get(keyword)
    except (TypeError, ValueError, ArithmeticError):  # a single invalid number fails all of them
        value = dataset.get_item(keyword).value
        value = (
            value.decode("ascii", "replace").split("\\") if isinstance(value, bytes) else [value]
        )
    if value is None or value == "":
        return None
    several = value if not isinstance(value, str) and hasattr(value, "__iter__") else [value]
    return [_number(one) for one in several]


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, ArithmeticError):
        return float("nan")


def _as_sixteen_bits(tables: Any) -> int:
    """Declare the entries of the first table to have 16 bits.

    pydicom would use integers with the number of bits of the table. There are no integers of 12
    bits, and integers of 8 bits cannot index a table of more than 256 entries.

    Returns:
        The number of bits that the table declared before, or 0 if there is no table.
    """
    if not tables:
        return 0
    length, first, bits = tables[0].LUTDescriptor
    tables[0].LUTDescriptor = [length, first, 16]
    return int(bits)
