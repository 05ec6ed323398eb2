"""The appearance of films from other scanners: tone, noise, and bands of collimators.

Pure functions of a film and drawn numbers. It knows neither landmarks nor geometry.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cephray.config import BandConfig, ToneConfig
from cephray.data.opencv import cv2

GrayImage = NDArray[np.uint8]  # [H, W]

GREATEST_SHADE = 40  # grey values that a band differs from black or white by


def tone_curve(draw: NDArray[np.float64], config: ToneConfig) -> GrayImage:
    """Draw what each grey value becomes.

    grey' = (grey ^ exp(g) − 1/2) · exp(c) + 1/2 + b, cut off at black and white, and inverted with
    a probability of its own.

    Args:
        draw: [4], numbers in [0, 1) for gamma g, contrast c, brightness b, and inversion.
        config: the largest of each.

    Returns:
        uint8 [256].
    """
    gamma, contrast, brightness = (2 * draw[:3] - 1) * (
        config.gamma,
        config.contrast,
        config.brightness,
    )
    grey = np.linspace(0, 1, 256)
    curve = (grey ** np.exp(gamma) - 0.5) * np.exp(contrast) + 0.5 + brightness
    if draw[3] < config.inversion:
        curve = 1 - curve
    rounded: GrayImage = np.round(255 * np.clip(curve, 0, 1)).astype(np.uint8)
    return rounded


def retone(
    image: GrayImage, draw: NDArray[np.float64], rng: np.random.Generator, config: ToneConfig
) -> GrayImage:
    """Change a film's tone, and add noise.

    Args:
        image: uint8 [H, W]; not modified.
        draw: [5], numbers in [0, 1): those of `tone_curve`, and the strength of the noise.
        rng: source of the noise.
        config: the largest of each.

    Returns:
        uint8 [H, W].
    """
    toned: GrayImage = cv2.LUT(image, tone_curve(draw[:4], config))
    deviation = 255 * config.noise * draw[4]
    if deviation > 0:
        noise = rng.standard_normal(image.shape, np.float32)
        toned = np.clip(np.rint(toned + deviation * noise), 0, 255).astype(np.uint8)
    return toned


def add_bands(image: GrayImage, draw: NDArray[np.float64], config: BandConfig) -> GrayImage:
    """Draw a band of one grey value along the top and the left edge, as collimators do.

    Args:
        image: uint8 [H, W]; not modified.
        draw: [3], numbers in [0, 1): height of the upper band, width of the left one, grey value.
        config: their greatest share of the film.

    Returns:
        uint8 [H, W].
    """
    height = round(image.shape[0] * config.max_share * draw[0])
    width = round(image.shape[1] * config.max_share * draw[1])
    # Nearly black or nearly white: both ends of the draw are the farthest from grey.
    grey = round(2 * GREATEST_SHADE * min(draw[2], 1 - draw[2]))
    grey = grey if draw[2] < 0.5 else 255 - grey
    banded = image.copy()
    banded[:height] = grey
    banded[:, :width] = grey
    return banded
