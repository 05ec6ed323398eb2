"""Frames in which the head lies as on the training films."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray import geometry
from cephray.data import Film, Orientation, View, view_film
from cephray.plausibility import shape_size

# A second look changes the scale by this much at most: landmarks found amiss ask for odd frames.
_LARGEST_ZOOM = 2.0

# Larger differences of landmarks from the mean shape, in the logarithm of its size and in the
# distance of its middle over its size, ask for a second look.
_USUAL_SCALE, _USUAL_SHIFT = 0.2, 0.3


def strays(
    points_norm: NDArray[np.floating[Any]], shape_norm: NDArray[np.floating[Any]], aspect: float
) -> bool:
    """Return whether landmarks are not about as large in their frame as a shape, or elsewhere.

    Args:
        points_norm: [K, 2], normalised; NaN where missing. Missing ones do not count.
        shape_norm: [K, 2], normalised.
        aspect: height of the frame over its width.
    """
    known = np.isfinite(points_norm).all(axis=-1)
    if known.sum() < 2:
        return False
    scale = np.array([1, aspect])
    points, shape = (p[known].astype(np.float64) * scale for p in (points_norm, shape_norm))
    size, usual = shape_size(points), shape_size(shape)
    if not (size > 0 and usual > 0):
        return False
    shift = float(np.linalg.norm(points.mean(axis=0) - shape.mean(axis=0))) / usual
    return abs(float(np.log(size / usual))) > _USUAL_SCALE or shift > _USUAL_SHIFT


def frame_like(
    shape_norm: NDArray[np.floating[Any]],
    points_px: NDArray[np.floating[Any]],
    before: geometry.Frame,
    aspect: float,
) -> geometry.Frame:
    """Choose the frame in which points lie as a shape does: same middle, same size.

    Args:
        shape_norm: [K, 2], normalised within a frame of this aspect.
        points_px: [K, 2], pixels of the film.
        before: the frame that the points were found in; its scale is changed by no more than
            `_LARGEST_ZOOM`.
        aspect: height of the frame over its width.
    """
    shape = shape_norm * np.array([1, aspect])  # in widths of the frame
    points = points_px.astype(np.float64)
    width = shape_size(points) / max(shape_size(shape), 1e-6)
    width = float(np.clip(width, before.width / _LARGEST_ZOOM, before.width * _LARGEST_ZOOM))
    left, top = points.mean(axis=0) + 0.5 - shape.mean(axis=0) * width
    return geometry.Frame(round(left), round(top), round(width), round(width * aspect))


def zoomed(frame: geometry.Frame, zoom: float) -> geometry.Frame:
    """Return the frame around the same middle, `zoom` times as wide and high."""
    width, height = round(frame.width * zoom), round(frame.height * zoom)
    return geometry.Frame(
        frame.left + (frame.width - width) // 2,
        frame.top + (frame.height - height) // 2,
        width,
        height,
    )


def right_film(film: Film, view: View, orientation: Orientation) -> Film:
    """Return the upright film of a film that lies in an orientation, with its landmarks.

    Args:
        film: with its pixels.
        view: how the upright film becomes an image of the network's size.
        orientation: how the film lies.
    """
    if film.pixels is None:
        raise ValueError(f"film {film.film} is not there as a whole, to be righted")
    landmarks_px = geometry.to_pixels(film.landmarks_norm.astype(np.float64), film.frame)
    upright_px = orientation.to_upright(landmarks_px, film.size_px)
    return view_film(film.film, orientation.right(film.pixels), upright_px, film.spacing_mm, view)


def show_frame(film: Film, view: View, frame: geometry.Frame) -> Film:
    """Show another frame of a film.

    Args:
        film: with its pixels.
        view: how the frame becomes an image of the network's size.
        frame: the frame, pixels of the film.
    """
    if film.pixels is None:
        raise ValueError(f"film {film.film} is not there as a whole, to be looked at again")
    landmarks_px = geometry.to_pixels(film.landmarks_norm.astype(np.float64), film.frame)
    return replace(
        film,
        image=view.show(film.pixels, frame),
        landmarks_norm=geometry.normalise(landmarks_px, frame).astype(np.float32),
        frame=frame,
    )
