"""Measures of one film as plain values, with standard deviations, norms and classes.

It makes what results and `cephray measure` write as JSON. It knows landmarks in pixels, but no
files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cephray.clinical.analysis import Analysis, Measure
from cephray.clinical.analysis_files import analysis_named, analysis_names
from cephray.clinical.inputs import FloatArray
from cephray.clinical.measures import (
    LANDMARKS,
    MEASUREMENTS,
    UNKNOWN,
    classify,
    measurable,
    measure,
)
from cephray.clinical.uncertainty import class_probabilities, standard_deviations
from cephray.errors import InputError
from cephray.landmarks import LandmarkSet

CHALLENGE = "isbi2015"
"""Name of the challenge's eight measurements among the analyses."""

CHALLENGE_TITLE = "ISBI 2015 challenge (Wang et al. 2016)"


@dataclass(frozen=True)
class Chosen:
    """An analysis that a landmark set allows at least one measure of.

    Args:
        name: name of the analysis.
        title: name to print.
        read: takes landmarks [K, 2] in pixels, the spacing in millimetres per pixel or None, the
            errors [K] of the landmarks in pixels or None, and whether classes are given. Returns
            what `read_analysis` or `read_challenge` does.
    """

    name: str
    title: str
    read: Callable[[FloatArray, float | None, FloatArray | None, bool], list[dict[str, Any]]]


def choose_analyses(
    given: Sequence[str], landmarks: LandmarkSet, own: Sequence[Analysis] = ()
) -> list[Chosen]:
    """Return the analyses to measure films by.

    Args:
        given: names or paths of analyses. If empty, all that the landmark set allows.
        landmarks: set of the landmarks.
        own: analyses of the user, which are known by their names like those of cephray.

    Raises:
        InputError: If an analysis does not exist or is not valid, or the landmark set has the
            points of no measure.
    """
    chosen = []
    named = {one.name: one for one in own}
    for name in given or (CHALLENGE, *analysis_names(), *named):
        if name == CHALLENGE:
            count, needed = int(measurable(landmarks)), list(LANDMARKS)
            one = Chosen(CHALLENGE, CHALLENGE_TITLE, partial(_read_challenge, landmarks))
        else:
            analysis = named[name] if name in named else analysis_named(name)
            count = len(analysis.of_set(landmarks).measures)
            needed = [point for one in analysis.measures for point in analysis.points_of(one)]
            one = Chosen(analysis.name, analysis.title, partial(_read, analysis, landmarks))
        if count:
            chosen.append(one)
        elif given:
            lacking = dict.fromkeys(p for p in needed if landmarks.find(p) is None)
            raise InputError(
                f"analysis {name!r}: landmark set {landmarks.name!r} has the points of none of its"
                f" measures; it lacks {', '.join(lacking)}; choose another landmark set"
            )
    if not chosen:
        raise InputError(
            f"landmark set {landmarks.name!r} has the points of no measure of any analysis; choose"
            " another landmark set, or an analysis of your own"
        )
    return chosen


def read_challenge(
    points_px: FloatArray,
    spacing_mm: float | None,
    landmarks: LandmarkSet,
    error_px: FloatArray | None = None,
    *,
    classified: bool = True,
) -> list[dict[str, Any]]:
    """Return the eight measurements of the ISBI 2015 challenge on one film.

    Args:
        points_px: [K, 2], pixels; NaN where missing.
        spacing_mm: millimetres per pixel, or None if unknown.
        landmarks: set of the K landmarks.
        error_px: [K], standard deviations of the landmarks along each axis, pixels; or None.
        classified: whether the classes are given; if not, all are `UNKNOWN`.

    Returns:
        A dictionary with `name`, `value`, `sd`, `unit`, `class`, `class_probability` and `meaning`
        for each measurement. `class_probability` is that of `class`. What is unknown is None.
        Empty if the set lacks a landmark that is needed.
    """
    if not measurable(landmarks):
        return []
    points_px = points_px.astype(np.float64)
    values = measure(points_px, spacing_mm, landmarks)
    deviations = np.full(len(values), np.nan)
    if error_px is not None:
        deviations = standard_deviations(
            lambda points: measure(points, spacing_mm, landmarks), points_px, error_px
        )
    classes = classify(points_px, spacing_mm, landmarks)
    if not classified:
        classes = np.full_like(classes, UNKNOWN)
    found = []
    for measurement, value, sd, number in zip(
        MEASUREMENTS, values, deviations, classes.tolist(), strict=True
    ):
        probability = np.nan
        if number != UNKNOWN and np.isfinite(sd):
            probability = class_probabilities(measurement, float(value), float(sd))[number - 1]
        found.append(
            {
                "name": measurement.name,
                "value": _plain(value, 3),
                "sd": _plain(sd, 4),
                "unit": measurement.unit,
                "class": number,
                "class_probability": _plain(probability, 3),
                "meaning": measurement.meaning(number),
            }
        )
    return found


def read_analysis(
    analysis: Analysis,
    points_px: FloatArray,
    spacing_mm: float | None,
    landmarks: LandmarkSet,
    error_px: FloatArray | None = None,
) -> list[dict[str, Any]]:
    """Return the measures of an analysis on one film.

    Args:
        analysis: the analysis. Measures whose points the set does not have are left out.
        points_px: [K, 2], pixels; NaN where missing.
        spacing_mm: millimetres per pixel, or None if unknown.
        landmarks: set of the K landmarks.
        error_px: [K], standard deviations of the landmarks along each axis, pixels; or None.

    Returns:
        A dictionary with `name`, `title`, `value`, `sd`, `unit` and `norms` for each measure. What
        is unknown is None. A norm has `mean`, `sd`, `for`, `source`, `difference` (of the value
        from the mean) and `difference_sd` (the same in standard deviations of the norm).
    """
    analysis = analysis.of_set(landmarks)
    points_px = points_px.astype(np.float64)
    values = analysis.values(points_px, spacing_mm, landmarks)
    deviations = np.full(len(values), np.nan)
    if error_px is not None:
        deviations = standard_deviations(
            lambda points: analysis.values(points, spacing_mm, landmarks), points_px, error_px
        )
    return [
        {
            "name": one.name,
            "title": one.title,
            "value": _plain(value, 3),
            "sd": _plain(sd, 4),
            "unit": one.unit,
            "norms": _norms(one, float(value)),
        }
        for one, value, sd in zip(analysis.measures, values, deviations, strict=True)
    ]


def _read(
    analysis: Analysis,
    landmarks: LandmarkSet,
    points_px: FloatArray,
    spacing_mm: float | None,
    error_px: FloatArray | None,
    classified: bool,
) -> list[dict[str, Any]]:
    return read_analysis(analysis, points_px, spacing_mm, landmarks, error_px)


def _read_challenge(
    landmarks: LandmarkSet,
    points_px: FloatArray,
    spacing_mm: float | None,
    error_px: FloatArray | None,
    classified: bool,
) -> list[dict[str, Any]]:
    return read_challenge(points_px, spacing_mm, landmarks, error_px, classified=classified)


def _norms(measure: Measure, value: float) -> list[dict[str, Any]]:
    return [
        {
            "mean": norm.mean,
            "sd": norm.sd,
            "for": norm.group or None,
            "source": norm.source,
            "difference": _plain(value - norm.mean, 3),
            "difference_sd": None if norm.sd is None else _plain((value - norm.mean) / norm.sd, 2),
        }
        for norm in measure.norms
    ]


def _plain(value: Any, digits: int) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None
