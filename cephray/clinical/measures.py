"""The eight measurements of the ISBI 2015 challenge, and the classes that they put a film into.

It knows landmarks in pixels, of faces that look to the right, and no model, file or screen.
Source: Wang et al., A benchmark for comparison of dental radiography analysis algorithms,
Medical Image Analysis, 2016; the classes are those in the challenge's own annotations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cephray import geometry
from cephray.errors import InputError
from cephray.landmarks import ISBI2015, LandmarkSet

FloatArray = NDArray[np.floating[Any]]

UNKNOWN = 0
"""The class of a measurement that lacks a landmark or the film's spacing."""

GRID_MM = 0.1
"""Landmarks are rounded to this before they are classified; see `rounded`."""

# A value that arithmetic alone carries across a bound still lies on it.
_ARITHMETIC = 1e-9


@dataclass(frozen=True)
class Measurement:
    """One measurement, and how its values fall into classes 1, 2, …

    `normal` holds the bounds of class 1, which belong to it; `below` and `above` are the classes
    beside it. Where `zero` is given, a value of exactly 0 is of that class.
    """

    name: str
    title: str
    unit: Literal["degree", "ratio", "mm"]
    normal: tuple[float, float]
    below: int
    above: int
    meanings: tuple[str, ...]
    zero: int | None = None

    def meaning(self, number: int) -> str:
        """Return the meaning of a class in words; 0 is "not known"."""
        return "not known" if number == UNKNOWN else self.meanings[number - 1]


MEASUREMENTS = (
    Measurement(
        "ANB", "A-point to B-point, seen from nasion", "degree", (3.2, 5.7), below=3, above=2,
        meanings=("skeletal class I", "skeletal class II", "skeletal class III"),
    ),
    Measurement(
        "SNB", "B-point to sella, seen from nasion", "degree", (74.6, 78.7), below=2, above=3,
        meanings=("normal mandible", "retrognathic mandible", "prognathic mandible"),
    ),
    Measurement(
        "SNA", "A-point to sella, seen from nasion", "degree", (79.4, 83.2), below=3, above=2,
        meanings=("normal maxilla", "prognathic maxilla", "retrognathic maxilla"),
    ),
    Measurement(
        "ODI", "overbite depth indicator", "degree", (68.4, 80.5), below=3, above=2,
        meanings=("normal bite", "deep bite", "open bite"),
    ),
    Measurement(
        "APDI", "anteroposterior dysplasia indicator", "degree", (77.6, 85.2), below=2, above=3,
        meanings=("class I", "class II", "class III"),
    ),
    Measurement(
        "FHI", "posterior to anterior facial height", "ratio", (0.65, 0.75), below=3, above=2,
        meanings=("normal face", "short face", "long face"),
    ),
    Measurement(
        "FMA", "sella–nasion to gonion–gnathion", "degree", (26.8, 31.4), below=3, above=2,
        meanings=("normal angle", "high angle", "low angle"),
    ),
    Measurement(
        "MW", "upper incisal edge before the lower", "mm", (2.0, 4.5), below=3, above=4, zero=2,
        meanings=(
            "normal overjet", "edge to edge", "anterior cross-bite or small overjet",
            "large overjet",
        ),
    ),
)  # fmt: skip
"""The challenge's measurements in the order of its class labels.

FMA is measured against the sella–nasion line, in spite of its name, and class 3 of MW, the
anterior cross-bite, takes in overjets between 0 and 2 mm: so the challenge's labels have it.
"""

LANDMARKS = (
    "S", "N", "Or", "Po", "A", "B", "Pog", "Me", "Gn", "Go", "LI", "UI", "PNS", "ANS",
)  # fmt: skip
"""The landmarks that the measurements need, by abbreviation."""


def measurable(landmarks: LandmarkSet) -> bool:
    """Return whether a set has the landmarks that the measurements need."""
    return set(LANDMARKS) <= set(landmarks.abbreviations)


def measure(
    landmarks_px: FloatArray,
    spacing_mm: FloatArray | float | None = None,
    landmarks: LandmarkSet = ISBI2015,
) -> NDArray[np.float64]:
    """Measure films.

    The formulas hold for faces that look to the right: mirror other films first.

    Args:
        landmarks_px: [..., K, 2], pixels (x, y), y down; not finite where missing.
        spacing_mm: millimetres per pixel, one for all films or [...]; None or NaN where unknown.
            Only MW needs it.
        landmarks: the set that the K landmarks are of.

    Returns:
        [..., 8], in the order and units of `MEASUREMENTS`; NaN where a landmark or the spacing
        is missing, or where two landmarks coincide and an angle has no direction.

    Raises:
        InputError: the set lacks a landmark that the measurements need.
        ValueError: a shape or a spacing is wrong.
    """
    spacings_mm = _spacings(landmarks_px, spacing_mm)
    p = _by_abbreviation(landmarks_px, landmarks)

    sna = _degrees(p["S"] - p["N"], p["A"] - p["N"])
    snb = _degrees(p["S"] - p["N"], p["B"] - p["N"])
    # Positive where the palatal plane sinks towards the face, against the Frankfort horizontal,
    # and where the A–B line runs forwards as it sinks, against the facial line.
    palatal = _signed_degrees(p["Or"] - p["Po"], p["ANS"] - p["PNS"])
    ab_line = _signed_degrees(p["B"] - p["A"], p["Pog"] - p["N"])
    face = _length(p["Me"] - p["N"])
    overjet_mm = _length(p["UI"] - p["LI"]) * spacings_mm
    values = {
        "ANB": sna - snb,
        "SNB": snb,
        "SNA": sna,
        "ODI": _degrees(p["Go"] - p["Me"], p["A"] - p["B"]) + palatal,
        "APDI": _degrees(p["Po"] - p["Or"], p["Pog"] - p["N"]) + ab_line + palatal,
        "FHI": _length(p["Go"] - p["S"]) / np.where(face > 0, face, np.nan),
        "FMA": _degrees(p["N"] - p["S"], p["Gn"] - p["Go"]),
        "MW": np.where(p["UI"][..., 0] < p["LI"][..., 0], -overjet_mm, overjet_mm),
    }
    return np.stack([values[measurement.name] for measurement in MEASUREMENTS], axis=-1)


def rounded(
    landmarks_px: FloatArray, spacing_mm: FloatArray | float | None = None
) -> NDArray[np.float64]:
    """Round landmarks half up to whole tenths of a millimetre, still given in pixels.

    The challenge's labels come from both readers' mean rounded half up to whole pixels, which
    are 0.1 mm on its films. Without that, MW would never be exactly 0 (edge to edge). The grid
    is one of millimetres from the film's edge (`geometry.to_grid`), so that the class of a head
    does not depend on its film's resolution.

    Args:
        landmarks_px: [..., K, 2], pixels.
        spacing_mm: millimetres per pixel, one for all films or [...]. Films whose spacing is
            None or NaN stay as they are: nothing says what a tenth of a millimetre is there.

    Returns:
        [..., K, 2], pixels.

    Raises:
        ValueError: a shape or a spacing is wrong.
    """
    points = np.asarray(landmarks_px, np.float64)
    cell_px = GRID_MM / _spacings(landmarks_px, spacing_mm)[..., None, None]
    return np.where(np.isnan(cell_px), points, geometry.to_grid(points, cell_px))


def classify(
    landmarks_px: FloatArray,
    spacing_mm: FloatArray | float | None = None,
    landmarks: LandmarkSet = ISBI2015,
) -> NDArray[np.int64]:
    """Return the class of each measurement, as the challenge's labels define it.

    Classes are those of the `rounded` landmarks. The value that `measure` gives for landmarks as
    they are may lie across a bound from its class, by what a tenth of a millimetre makes.

        classes = classify(landmarks_px, 0.1)  # [8]
        print(*(m.meaning(number) for m, number in zip(MEASUREMENTS, classes)), sep=", ")

    Args:
        landmarks_px: [..., K, 2], pixels (x, y), y down; not finite where missing.
        spacing_mm: millimetres per pixel, one for all films or [...]; None or NaN where unknown.
        landmarks: the set that the K landmarks are of.

    Returns:
        [..., 8], from 1; `UNKNOWN` where `measure` gives NaN.

    Raises:
        InputError: the set lacks a landmark that the measurements need.
        ValueError: a shape or a spacing is wrong.
    """
    values = measure(rounded(landmarks_px, spacing_mm), spacing_mm, landmarks)
    return np.stack(
        [_classes(values[..., i], measurement) for i, measurement in enumerate(MEASUREMENTS)],
        axis=-1,
    )


def _by_abbreviation(landmarks_px: FloatArray, landmarks: LandmarkSet) -> Mapping[str, FloatArray]:
    lacking = [name for name in LANDMARKS if name not in landmarks.abbreviations]
    if lacking:
        raise InputError(
            f"landmark set {landmarks.name!r} has no {', '.join(lacking)}, which the"
            f" measurements {', '.join(m.name for m in MEASUREMENTS)} need; set"
            f" {ISBI2015.name!r} has them"
        )
    points = np.asarray(landmarks_px, np.float64)
    if points.shape[-2:] != (len(landmarks), 2):
        raise ValueError(
            f"landmarks_px must have shape [..., {len(landmarks)}, 2] for landmark set"
            f" {landmarks.name!r}; got {list(points.shape)}"
        )
    points = np.where(np.isfinite(points), points, np.nan)
    return {name: points[..., k, :] for k, name in enumerate(landmarks.abbreviations)}


def _spacings(
    landmarks_px: FloatArray, spacing_mm: FloatArray | float | None
) -> NDArray[np.float64]:
    spacings_mm = np.asarray(np.nan if spacing_mm is None else spacing_mm, np.float64)
    films = np.shape(landmarks_px)[:-2]
    if spacings_mm.ndim and spacings_mm.shape != films:
        raise ValueError(
            f"spacing_mm must be one number, or one for each film, {list(films)};"
            f" got shape {list(spacings_mm.shape)}"
        )
    if (spacings_mm <= 0).any() or np.isinf(spacings_mm).any():
        raise ValueError(
            "spacing_mm must be millimetres per pixel above 0, or NaN where unknown;"
            f" got {spacing_mm}"
        )
    return spacings_mm


def _signed_degrees(u: FloatArray, v: FloatArray) -> FloatArray:
    """Angle between vectors, negative where v lies anticlockwise of u on the screen."""
    cross = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    dot = (u * v).sum(axis=-1)
    angle = np.degrees(np.arctan2(cross, dot))
    # Opposite vectors: the definition gives +180, arctan2 the sign of a zero.
    angle = np.where(cross == 0, np.abs(angle), angle)
    return np.where((cross == 0) & (dot == 0), np.nan, angle)


def _degrees(u: FloatArray, v: FloatArray) -> FloatArray:
    return np.abs(_signed_degrees(u, v))


def _length(vector: FloatArray) -> FloatArray:
    return np.hypot(vector[..., 0], vector[..., 1])


def _classes(values: FloatArray, measurement: Measurement) -> NDArray[np.int64]:
    low, high = measurement.normal
    classes = np.select(
        [np.isnan(values), values < low - _ARITHMETIC, values > high + _ARITHMETIC],
        [UNKNOWN, measurement.below, measurement.above],
        default=1,
    )
    if measurement.zero is not None:
        classes = np.where(np.abs(values) < _ARITHMETIC, measurement.zero, classes)
    return classes.astype(np.int64)
