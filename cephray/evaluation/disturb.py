"""Changes of films, as by other scanners and other framings; landmarks move with the films.

Each disturbance takes a film and changes one thing. It knows pictures and points, and no network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cephray.data import GrayImage, Orientation, cv2

LARGEST_SHARE = 0.2  # cropped or padded at a side
BLUR_MM = 0.3  # standard deviation


class Shot(NamedTuple):
    """A film with its landmarks [K, 2] in pixels, NaN where missing, and millimetres per pixel."""

    image: GrayImage
    landmarks_px: NDArray[np.floating[Any]]
    spacing_mm: float


Disturb = Callable[[Shot, np.random.Generator], Shot]


def resample(spacing_mm: float) -> Disturb:
    """Scan at another resolution, millimetres per pixel."""

    def disturb(shot: Shot, rng: np.random.Generator) -> Shot:
        height, width = shot.image.shape
        factor = shot.spacing_mm / spacing_mm
        size = (round(width * factor), round(height * factor))
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        image = cv2.resize(shot.image, size, interpolation=how)
        scale = np.array(size) / (width, height)
        return Shot(image, (shot.landmarks_px + 0.5) * scale - 0.5, spacing_mm)

    return disturb


def crop(shot: Shot, rng: np.random.Generator) -> Shot:
    """Cut off a random share of each side; landmarks that lay there are missing."""
    left, top, right, bottom = _margins(shot, rng)
    height, width = shot.image.shape
    image = shot.image[top : height - bottom, left : width - right]
    points = shot.landmarks_px - np.array([left, top])
    size = np.array(image.shape[::-1])
    inside = ((points >= -0.5) & (points <= size - 0.5)).all(axis=-1, keepdims=True)
    return Shot(image, np.where(inside, points, np.nan), shot.spacing_mm)


def pad(grey: int) -> Disturb:
    """Add a border of a grey value, of a random width at each side."""

    def disturb(shot: Shot, rng: np.random.Generator) -> Shot:
        left, top, right, bottom = _margins(shot, rng)
        image = cv2.copyMakeBorder(
            shot.image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=grey
        )
        return Shot(image, shot.landmarks_px + np.array([left, top]), shot.spacing_mm)

    return disturb


def gamma(exponent: float) -> Disturb:
    """Expose or develop otherwise: grey values, 0 to 1, to the power of an exponent."""
    table = np.round(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return lambda shot, rng: shot._replace(image=table[shot.image])


def lay(orientation: Orientation) -> Disturb:
    """Turn, mirror or invert the film."""

    def disturb(shot: Shot, rng: np.random.Generator) -> Shot:
        image = orientation.lay(shot.image)
        size_px = (image.shape[1], image.shape[0])
        return Shot(image, orientation.to_film(shot.landmarks_px, size_px), shot.spacing_mm)

    return disturb


def blur(sigma_mm: float) -> Disturb:
    """Blur by a Gaussian of this standard deviation."""

    def disturb(shot: Shot, rng: np.random.Generator) -> Shot:
        sigma_px = sigma_mm / shot.spacing_mm
        return shot._replace(image=cv2.GaussianBlur(shot.image, (0, 0), sigma_px))

    return disturb


DISTURBANCES: dict[str, Disturb] = {
    "as they are": lambda shot, rng: shot,
    "0.07 mm a pixel": resample(0.07),
    "0.15 mm a pixel": resample(0.15),
    f"cropped by up to {LARGEST_SHARE:.0%} a side": crop,
    f"padded by up to {LARGEST_SHARE:.0%} a side, black": pad(0),
    f"padded by up to {LARGEST_SHARE:.0%} a side, white": pad(255),
    "gamma 0.5": gamma(0.5),
    "gamma 2": gamma(2.0),
    f"blurred by {BLUR_MM:g} mm": blur(BLUR_MM),
    **{
        str(orientation): lay(orientation)
        for orientation in (
            Orientation(inverted=True),
            Orientation(mirrored=True),
            Orientation(90),
            Orientation(180),
            Orientation(270),
        )
    },
}
"""By the names that tables give them, the films as they are first."""


def _margins(shot: Shot, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw a width for each side, pixels: left, top, right, bottom."""
    height, width = shot.image.shape
    sides = np.array([width, height, width, height])
    left, top, right, bottom = (rng.uniform(0, LARGEST_SHARE, 4) * sides).astype(int).tolist()
    return left, top, right, bottom
