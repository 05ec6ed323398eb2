"""The eight clinical measurements of the ISBI 2015 challenge, and their classes.

It knows landmarks in pixels, but no models or files.
Source: Wang et al., A benchmark for comparison of dental radiography analysis algorithms,
Medical Image Analysis, 2016. The classes are those of the challenge's annotations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cephray import geometry
from cephray.clinical.constructions import between, length, turn
from cephray.clinical.inputs import finite_points, spacings
from cephray.clinical.upright import upright
from cephray.errors import InputError
from cephray.landmarks import ISBI2015, LandmarkSet

FloatArray = NDArray[np.floating[Any]]

UNKNOWN = 0
"""Class of a measurement that cannot be made, since a landmark or the spacing is missing."""

GRID_MM = 0.1
"""Grid for landmarks that are classified, millimetres; see `round_landmarks`."""

# Values this close to a bound count as equal to it, since they differ by rounding alone.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Measurement:
    """A measurement and its classes, which are numbered from 1.

    Args:
        name: abbreviation of the measurement.
        title: what is measured.
        unit: unit of its values.
        normal: lowest and highest value of class 1, both included.
        below: class of lower values.
        above: class of higher values.
        meanings: meaning of each class, in order.
        zero: class of a value of exactly 0, or None if 0 has no class of its own.
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
        """Return the meaning of a class in words. The meaning of `UNKNOWN` is "not known"."""
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
        "SN-GoGn", "sella–nasion to gonion–gnathion", "degree", (26.8, 31.4), below=3, above=2,
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
"""The measurements, in the order of the challenge's class labels.

The challenge calls SN-GoGn "FMA", although it is measured against the sella–nasion line instead of
the Frankfort horizontal. The true FMA is in the analyses of Downs, Tweed, McNamara and Ricketts.
Class 3 of MW, the anterior cross-bite, includes overjets between 0 and 2 mm, as the challenge's
labels require it.
"""

LANDMARKS = (
    "S", "N", "Or", "Po", "A", "B", "Pog", "Me", "Gn", "Go", "LI", "UI", "PNS", "ANS",
)  # fmt: skip
"""Abbreviations of the landmarks that the measurements need."""


def measurable(landmarks: LandmarkSet) -> bool:
    """Return whether a landmark set has all landmarks that the measurements need."""
    return all(landmarks.find(name) is not None for name in LANDMARKS)


def measure(
    landmarks_px: FloatArray,
    spacing_mm: FloatArray | float | None = None,
    landmarks: LandmarkSet = ISBI2015,
) -> NDArray[np.float64]:
    """Compute the eight measurements of films.

    The film may be mirrored or turned by quarter turns; see `upright`.

    Args:
        landmarks_px: [..., K, 2], pixels (x, y), with y down. Missing landmarks are NaN or
            infinite.
        spacing_mm: millimetres per pixel: a number for all films, or an array [...]. It is None
            or NaN if unknown. Only MW needs it.
        landmarks: set of the K landmarks.

    Returns:
        [..., 8], in the order and units of `MEASUREMENTS`. A measurement is NaN if a landmark or
        the spacing that it needs is missing, or if coincident landmarks leave an angle undefined.

    Raises:
        InputError: If the set lacks a landmark that the measurements need.
        ValueError: If a shape or a spacing is invalid.
    """
    spacings_mm = spacings(landmarks_px, spacing_mm)
    p = _by_abbreviation(landmarks_px, landmarks)

    sna = between(p["N"], p["S"], p["N"], p["A"])
    snb = between(p["N"], p["S"], p["N"], p["B"])
    # Positive if the palatal plane slopes down towards the face, relative to the Frankfort
    # horizontal, and if the A–B line runs forwards as it descends, relative to the facial line.
    palatal = turn(p["Po"], p["Or"], p["PNS"], p["ANS"])
    ab_line = turn(p["A"], p["B"], p["N"], p["Pog"])
    face = length(p["N"], p["Me"])
    overjet_mm = length(p["LI"], p["UI"]) * spacings_mm
    values = {
        "ANB": sna - snb,
        "SNB": snb,
        "SNA": sna,
        "ODI": between(p["Me"], p["Go"], p["B"], p["A"]) + palatal,
        "APDI": between(p["Or"], p["Po"], p["N"], p["Pog"]) + ab_line + palatal,
        "FHI": length(p["S"], p["Go"]) / np.where(face > 0, face, np.nan),
        "SN-GoGn": between(p["S"], p["N"], p["Go"], p["Gn"]),
        "MW": np.where(p["UI"][..., 0] < p["LI"][..., 0], -overjet_mm, overjet_mm),
    }
    return np.stack([values[measurement.name] for measurement in MEASUREMENTS], axis=-1)


def round_landmarks(
    landmarks_px: FloatArray, spacing_mm: FloatArray | float | None = None
) -> NDArray[np.float64]:
    """Round landmarks half up to tenths of a millimetre, in units of pixels.

    The challenge's labels were computed from the readers' mean, rounded half up to whole pixels
    of 0.1 mm. Without this rounding, MW would hardly ever be exactly 0 (edge to edge). The grid
    is fixed in millimetres from the film's edge (`geometry.to_grid`), so that classes do not
    depend on the film's resolution.

    Args:
        landmarks_px: [..., K, 2], pixels.
        spacing_mm: millimetres per pixel: a number for all films, or an array [...]. It is None
            or NaN if unknown.

    Returns:
        [..., K, 2], pixels. Landmarks on films of unknown spacing are not rounded.

    Raises:
        ValueError: If a shape or a spacing is invalid.
    """
    points = np.asarray(landmarks_px, np.float64)
    cell_px = GRID_MM / spacings(landmarks_px, spacing_mm)[..., None, None]
    return np.where(np.isnan(cell_px), points, geometry.to_grid(points, cell_px))


def classify(
    landmarks_px: FloatArray,
    spacing_mm: FloatArray | float | None = None,
    landmarks: LandmarkSet = ISBI2015,
) -> NDArray[np.int64]:
    """Classify films by each measurement, as the challenge's labels do.

    Landmarks are rounded first; see `round_landmarks`. Near a bound, a class may therefore differ
    from that of the value that `measure` returns for the unrounded landmarks.

    Example:
        classes = classify(landmarks_px, 0.1)  # [8]
        print(*(m.meaning(number) for m, number in zip(MEASUREMENTS, classes)), sep=", ")

    Args:
        landmarks_px: [..., K, 2], pixels (x, y), with y down. Missing landmarks are NaN or
            infinite.
        spacing_mm: millimetres per pixel: a number for all films, or an array [...]. It is None
            or NaN if unknown.
        landmarks: set of the K landmarks.

    Returns:
        [..., 8], class numbers from 1, or `UNKNOWN` where `measure` returns NaN.

    Raises:
        InputError: If the set lacks a landmark that the measurements need.
        ValueError: If a shape or a spacing is invalid.
    """
    values = measure(round_landmarks(landmarks_px, spacing_mm), spacing_mm, landmarks)
    return np.stack(
        [_classes(values[..., i], measurement) for i, measurement in enumerate(MEASUREMENTS)],
        axis=-1,
    )


def _by_abbreviation(landmarks_px: FloatArray, landmarks: LandmarkSet) -> Mapping[str, FloatArray]:
    indices = {name: landmarks.find(name) for name in LANDMARKS}
    lacking = [name for name, index in indices.items() if index is None]
    if lacking:
        raise InputError(
            f"landmark set {landmarks.name!r} has no {', '.join(lacking)}, which the"
            f" measurements {', '.join(m.name for m in MEASUREMENTS)} need; set"
            f" {ISBI2015.name!r} has them"
        )
    points = upright(finite_points(landmarks_px, landmarks), landmarks)
    return {name: points[..., index, :] for name, index in indices.items()}


def _classes(values: FloatArray, measurement: Measurement) -> NDArray[np.int64]:
    low, high = measurement.normal
    classes = np.select(
        [np.isnan(values), values < low - _TOLERANCE, values > high + _TOLERANCE],
        [UNKNOWN, measurement.below, measurement.above],
        default=1,
    )
    if measurement.zero is not None:
        classes = np.where(np.abs(values) < _TOLERANCE, measurement.zero, classes)
    return classes.astype(np.int64)
