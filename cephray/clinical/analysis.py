"""Cephalometric analyses: measures of landmarks, each with its points, unit and norms.

It knows landmarks in pixels and constructions, but no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cephray.clinical.constructions import CONSTRUCTIONS
from cephray.clinical.inputs import FloatArray, finite_points, spacings
from cephray.clinical.upright import upright
from cephray.errors import InputError
from cephray.landmarks import ISBI2015, LandmarkSet

Unit = Literal["degree", "mm", "ratio", "percent"]
Point = tuple[str, ...]
"""Abbreviation of a landmark; or of several, whose mean is the point."""

COMBINATIONS = ("sum", "difference", "ratio", "least")
"""Constructions from other measures of the analysis instead of points."""


@dataclass(frozen=True)
class Norm:
    """A published norm of a measure.

    Args:
        mean: mean, in the unit of the measure.
        sd: standard deviation between persons, or None if the source gives none.
        group: for whom the norm holds, or an empty text if the source does not say.
        source: the publication.
    """

    mean: float
    sd: float | None
    group: str
    source: str


@dataclass(frozen=True)
class Measure:
    """A measure of an analysis.

    Args:
        name: abbreviation of the measure, as in its publication.
        title: what is measured.
        unit: unit of its values. Millimetres need the spacing of the film.
        construction: one of `CONSTRUCTIONS` or `COMBINATIONS`.
        points: points of the construction, in its order.
        of: names of the measures that are combined, in order. They stand before this one.
        turned_deg: angle by which the construction turns its first line clockwise.
        norms: published norms, of several groups of people perhaps.
        sign: what a positive value means.
    """

    name: str
    title: str
    unit: Unit
    construction: str
    points: tuple[Point, ...] = ()
    of: tuple[str, ...] = ()
    turned_deg: float = 0.0
    norms: tuple[Norm, ...] = ()
    sign: str = ""


@dataclass(frozen=True)
class Analysis:
    """Measures that are published together.

    Example:
        steiner = analysis_named("steiner").of_set(ISBI2015)
        values = steiner.values(landmarks_px, 0.1)  # [..., M]

    Args:
        name: name of the analysis.
        title: name to print.
        source: the publication.
        measures: M measures.
    """

    name: str
    title: str
    source: str
    measures: tuple[Measure, ...]

    def points_of(self, measure: Measure) -> tuple[str, ...]:
        """Return the abbreviations of all landmarks that a measure needs, each once."""
        by_name = {one.name: one for one in self.measures}
        used = [*measure.points, *(self.points_of(by_name[name]) for name in measure.of)]
        return tuple(dict.fromkeys(name for point in used for name in point))

    def of_set(self, landmarks: LandmarkSet) -> Analysis:
        """Return the analysis with those measures only whose points a landmark set has."""
        found = tuple(
            measure
            for measure in self.measures
            if all(landmarks.find(point) is not None for point in self.points_of(measure))
        )
        return replace(self, measures=found)

    def values(
        self,
        landmarks_px: FloatArray,
        spacing_mm: FloatArray | float | None = None,
        landmarks: LandmarkSet = ISBI2015,
    ) -> NDArray[np.float64]:
        """Compute the measures of films.

        The films may be mirrored or turned by quarter turns; see `upright`.

        Args:
            landmarks_px: [..., K, 2], pixels (x, y), with y down. Missing landmarks are NaN or
                infinite.
            spacing_mm: millimetres per pixel: a number for all films, or an array [...]. It is
                None or NaN if unknown.
            landmarks: set of the K landmarks. It has all points of the measures (see `of_set`).

        Returns:
            [..., M], in the order and units of the measures. A measure is NaN if a landmark or
            the spacing that it needs is missing, or if coincident points leave it undefined.

        Raises:
            InputError: If the set lacks a point of a measure.
            ValueError: If a shape or a spacing is invalid.
        """
        righted = upright(finite_points(landmarks_px, landmarks), landmarks)
        points = self._points(righted, landmarks)
        spacings_mm = spacings(landmarks_px, spacing_mm)
        found: dict[str, FloatArray] = {}  # degrees, pixels or ratios
        for measure in self.measures:
            found[measure.name] = (
                _combine(measure.construction, [found[name] for name in measure.of])
                if measure.of
                else _construct(measure, points)
            )
        one = np.ones_like(spacings_mm)
        scales = {"degree": one, "mm": spacings_mm, "ratio": one, "percent": 100 * one}
        values = [found[measure.name] * scales[measure.unit] for measure in self.measures]
        films = np.shape(landmarks_px)[:-2]
        return np.stack(values, axis=-1) if values else np.empty((*films, 0))

    def _points(self, points: FloatArray, landmarks: LandmarkSet) -> dict[str, FloatArray]:
        """Return the points [..., 2] of the measures by abbreviation."""
        found, lacking = {}, []
        for name in dict.fromkeys(p for one in self.measures for p in self.points_of(one)):
            index = landmarks.find(name)
            if index is None:
                lacking.append(name)
            else:
                found[name] = points[..., index, :]
        if lacking:
            raise InputError(
                f"analysis {self.name!r}: landmark set {landmarks.name!r} has no"
                f" {', '.join(lacking)}; choose the measures that it allows with of_set"
            )
        return found


def _construct(measure: Measure, points: Mapping[str, FloatArray]) -> FloatArray:
    construction = CONSTRUCTIONS[measure.construction]
    found = [np.mean([points[name] for name in point], axis=0) for point in measure.points]
    turned = {"turned_deg": measure.turned_deg} if construction.can_turn else {}
    return construction.compute(*found, **turned)


def _combine(combination: str, parts: list[FloatArray]) -> FloatArray:
    """Combine measures in the same unit. A ratio to 0 is NaN."""
    if combination == "ratio":
        return parts[0] / np.where(parts[1] == 0, np.nan, parts[1])
    if combination == "difference":
        return parts[0] - parts[1]
    stacked = np.stack(parts)
    result: FloatArray = stacked.sum(axis=0) if combination == "sum" else stacked.min(axis=0)
    return result
