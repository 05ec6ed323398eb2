"""Grey values of a synthetic radiograph, from contours on a film.

The attenuations of all contours are added, like those of tissues in a beam. The sum becomes a film
by an exposure curve, texture and noise. It knows no anatomy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cephray.data.opencv import cv2

Image = TypeVar("Image", NDArray[np.uint8], NDArray[np.float32])

_SUBPIXEL_BITS = 6
_FILL_EXCESS_PX = 0.6  # average distance by which cv2.fillPoly exceeds its polygon
_STEPS = 12  # points of a curve for each control point


@dataclass(frozen=True)
class Stroke:
    """A curve on the film, in pixels. The fields are those of `anatomy.Contour`."""

    points_px: NDArray[np.float64]  # [n, 2]
    closed: bool
    fill: float
    rim: float
    rim_px: float
    stroke: float
    stroke_px: float
    blur_px: float


def spline(controls: NDArray[np.float64], closed: bool) -> NDArray[np.float64]:
    """Return the centripetal Catmull-Rom curve through control points.

    Args:
        controls: [n, 2], with n at least 3.
        closed: whether the last point is joined to the first.

    Returns:
        [m, 2], points of the curve, including the control points.
    """
    if closed:
        padded = np.concatenate([controls[-1:], controls, controls[:2]])
    else:
        before, after = 2 * controls[0] - controls[1], 2 * controls[-1] - controls[-2]
        padded = np.concatenate([before[None], controls, after[None]])
    knots = np.sqrt(np.linalg.norm(np.diff(padded, axis=0), axis=1)) + 1e-9
    d0, d1, d2 = (knots[i : len(knots) - 2 + i, None, None] for i in range(3))
    p0, p1, p2, p3 = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    tangent1 = (p1 - p0) / d0 - (p2 - p0) / (d0 + d1) + (p2 - p1) / d1
    tangent2 = (p2 - p1) / d1 - (p3 - p1) / (d1 + d2) + (p3 - p2) / d2
    t = np.linspace(0, 1, _STEPS, endpoint=False)[None, :, None]
    curve = (
        (2 * t**3 - 3 * t**2 + 1) * p1
        + (t**3 - 2 * t**2 + t) * tangent1 * d1
        + (-2 * t**3 + 3 * t**2) * p2
        + (t**3 - t**2) * tangent2 * d1
    ).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, controls[-1:]])


def attenuation(strokes: Sequence[Stroke], size_px: tuple[int, int]) -> NDArray[np.float32]:
    """Add the attenuations of all strokes.

    Args:
        strokes: curves, in pixels of the canvas.
        size_px: (width, height) of the canvas, pixels.

    Returns:
        float32 [H, W].
    """
    total = np.zeros(size_px[::-1], np.float32)
    for stroke in strokes:
        _add(total, stroke)
    return total


def expose(
    total: NDArray[np.float32],
    rng: np.random.Generator,
    contrast: float,
    gamma: float,
    gradient: tuple[float, float],
) -> NDArray[np.float32]:
    """Convert attenuation to grey values. Air is black, and dense bone is nearly white.

    Args:
        total: [H, W], attenuation.
        rng: random generator of the texture.
        contrast: factor on the attenuation.
        gamma: exponent of the film's tone curve.
        gradient: change of the exposure from left to right, and from top to bottom.

    Returns:
        float32 [H, W], 0 to 1.
    """
    height, width = total.shape
    texture = _smooth(rng.standard_normal(total.shape, dtype=np.float32), height / 700)
    texture /= max(float(texture.std()), 1e-6)
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    light = 1 + gradient[0] * x + gradient[1] * y
    dense = np.maximum(total, 0) * (1 + 0.03 * texture)
    grey = 1 - np.exp(-contrast * dense * light)
    toned: NDArray[np.float32] = cv2.pow(np.clip(grey + 0.015, 0, 1), gamma)
    return toned


def collimate(grey: NDArray[np.float32], rng: np.random.Generator, border_px: float) -> None:
    """Whiten a border, like the unexposed border of a collimator, in place.

    Args:
        grey: [H, W], 0 to 1.
        rng: random generator of the border's slant.
        border_px: mean width of the border, pixels.
    """
    height, width = grey.shape
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (width - 1, height - 1)
    inward = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    corners = corners + inward * border_px * rng.uniform(0.6, 1.4, (4, 2))
    exposed = np.zeros(grey.shape, np.uint8)
    cv2.fillPoly(exposed, [_fixed(corners)], 255, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    np.copyto(grey, 0.96 + (grey - 0.96) * (exposed.astype(np.float32) / 255))


def develop(
    grey: NDArray[np.float32],
    rng: np.random.Generator,
    size_px: tuple[int, int],
    noise: float,
) -> NDArray[np.uint8]:
    """Resize grey values to the film's size, and add noise.

    Args:
        grey: [h, w], 0 to 1.
        rng: random generator of the noise.
        size_px: (width, height) of the film, pixels.
        noise: standard deviation of the noise; from black to white is 1.

    Returns:
        uint8 [H, W].
    """
    if grey.shape != size_px[::-1]:
        grey = cv2.resize(grey, size_px, interpolation=cv2.INTER_CUBIC)
    grain = rng.standard_normal(grey.shape, dtype=np.float32)
    developed: NDArray[np.uint8] = cv2.convertScaleAbs(
        np.maximum(grey + noise * grain, 0), alpha=255
    )
    return developed


def _add(total: NDArray[np.float32], stroke: Stroke) -> None:
    reach = 3 * max(stroke.rim_px if stroke.rim else 0, stroke.blur_px) + stroke.stroke_px + 2
    height, width = total.shape
    low = np.maximum(np.floor(stroke.points_px.min(axis=0) - reach), 0).astype(int)
    high = np.minimum(np.ceil(stroke.points_px.max(axis=0) + reach), (width, height)).astype(int)
    if (low >= high).any():
        return
    shape = (high[1] - low[1], high[0] - low[0])
    window = total[low[1] : high[1], low[0] : high[0]]
    if stroke.fill or stroke.rim:
        mask = np.zeros(shape, np.uint8)
        filled = _fixed(_inset(stroke.points_px, _FILL_EXCESS_PX) - low)
        cv2.fillPoly(mask, [filled], 255, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
        inside = _smooth(mask, stroke.blur_px).astype(np.float32) / 255
        if stroke.rim:
            edge = 1 - _smooth(mask, stroke.rim_px).astype(np.float32) / 255
            window += inside * (stroke.fill + 2 * stroke.rim * edge)
        else:
            window += stroke.fill * inside
    if stroke.stroke:
        line = np.zeros(shape, np.uint8)
        thick = max(round(stroke.stroke_px), 1)
        cv2.polylines(
            line,
            [_fixed(stroke.points_px - low)],
            stroke.closed,
            255,
            thick,
            lineType=cv2.LINE_AA,
            shift=_SUBPIXEL_BITS,
        )
        # A stroke narrower than a pixel is drawn one pixel wide, with a lower attenuation.
        weight = stroke.stroke * min(stroke.stroke_px, 1.0) / 255
        window += weight * _smooth(line, stroke.blur_px).astype(np.float32)


def _fixed(points_px: NDArray[np.float64]) -> NDArray[np.int32]:
    """Convert points to the fixed-point numbers of OpenCV."""
    fixed: NDArray[np.int32] = np.round(points_px * 2**_SUBPIXEL_BITS).astype(np.int32)
    return fixed


def _inset(points_px: NDArray[np.float64], depth_px: float) -> NDArray[np.float64]:
    """Return a closed curve [n, 2] moved inwards, for either orientation."""
    behind, ahead = np.roll(points_px, 1, axis=0), np.roll(points_px, -1, axis=0)
    tangent = ahead - behind
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
    area = (points_px[:, 0] * ahead[:, 1] - ahead[:, 0] * points_px[:, 1]).sum()
    inset: NDArray[np.float64] = points_px + depth_px * np.sign(area) * normal
    return inset


def _smooth(image: Image, sigma_px: float) -> Image:
    if sigma_px < 0.3:
        return image
    shrink = max(int(sigma_px / 2), 1)  # a wide blur can be computed at a lower resolution
    size = image.shape[1], image.shape[0]
    if shrink > 1:
        small = max(size[0] // shrink, 1), max(size[1] // shrink, 1)
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    smoothed: Image = cv2.GaussianBlur(
        image, (0, 0), sigma_px / shrink, borderType=cv2.BORDER_REPLICATE
    )
    return cv2.resize(smoothed, size, interpolation=cv2.INTER_LINEAR) if shrink > 1 else smoothed
