"""Righting of marked films that lie otherwise than those that the network was trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray import geometry
from cephray.data import ORIENTATIONS, UPRIGHT, Film, Orientation, View
from cephray.plausibility import (
    FEWEST_POINTS,
    ShapeStatistics,
    is_negative,
    shape_size,
    strangeness,
)
from cephray.prediction import frame_like, right_film, show_frame, strays


def frame_by_marks(film: Film, view: View, shape_norm: NDArray[np.floating[Any]]) -> Film:
    """Return a film as the network looks at it: again, if the head is not where it usually is.

    Args:
        film: with its pixels and marks.
        view: how films become images of the network's size.
        shape_norm: [K, 2], mean shape of the network, normalised.
    """
    aspect = view.height / view.width
    if view.fit != "letterbox" or not strays(film.landmarks_norm, shape_norm, aspect):
        return film
    known = np.isfinite(film.landmarks_norm).all(axis=-1)
    marks_px = geometry.to_pixels(film.landmarks_norm[known].astype(np.float64), film.frame)
    return show_frame(film, view, frame_like(shape_norm[known], marks_px, film.frame, aspect))


def right_by_marks(film: Film, view: View, statistics: ShapeStatistics | None) -> Film:
    """Return a film with its marks, upright, positive and with the face to the right.

    Args:
        film: with its pixels.
        view: how films become images of the network's size.
        statistics: of the network's training films. If None, the film is taken as it is, and so it
            is if too few landmarks are marked.
    """
    if statistics is None or film.pixels is None:
        return film
    marks_px = geometry.to_pixels(film.landmarks_norm.astype(np.float64), film.frame)
    orientation = _orientation(marks_px, film.size_px, statistics)
    righted = film if orientation == UPRIGHT else right_film(film, view, orientation)
    points_px = geometry.to_pixels(righted.landmarks_norm.astype(np.float64), righted.frame)
    if is_negative(righted.image, righted.frame, points_px, statistics):
        return right_film(film, view, orientation._replace(inverted=True))
    return righted


def _orientation(
    marks_px: NDArray[np.floating[Any]], size_px: tuple[int, int], statistics: ShapeStatistics
) -> Orientation:
    """Return the orientation in which marks are most like those of the training films."""
    known = np.isfinite(marks_px).all(axis=-1)
    if known.sum() < FEWEST_POINTS:
        return UPRIGHT
    mean: NDArray[Any] = np.array(statistics.mean_shape)[known]
    mean = (mean - mean.mean(axis=0)) / shape_size(mean)
    of_known = replace(statistics, mean_shape=tuple(map(tuple, mean.tolist())))
    strange = [
        strangeness(orientation.to_upright(marks_px, size_px)[known], None, of_known)
        for orientation in ORIENTATIONS
    ]
    return ORIENTATIONS[int(np.argmin(strange))] if min(strange) <= 1 else UPRIGHT
