"""Changes of a film's appearance: tone, noise, and bands like those of collimators.

All functions are pure functions of a film and random numbers. They know no landmarks and no
geometry.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cephray.config import BandConfig, ToneConfig
from cephray.data.opencv import cv2

GrayImage = NDArray[np.uint8]  # [H, W]

MAX_SHADE = 40  # maximum difference of a band from black or white, grey values


def tone_curve(draw: NDArray[np.float64], config: ToneConfig) -> GrayImage:
    """Compute a random tone curve.

    grey' = (grey ^ exp(g) − 1/2) · exp(c) + 1/2 + b, clipped to black and white, and inverted with
    a given probability.

    Args:
        draw: [4], random numbers in [0, 1) for gamma g, contrast c, brightness b, and inversion.
        config: maximum of g, c and b, and probability of the inversion.

    Returns:
        uint8 [256], the new grey value of each grey value.
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
    """Apply a random tone curve to a film, and add noise.

    Args:
        image: uint8 [H, W]; not modified.
        draw: [5], random numbers in [0, 1): those of `tone_curve`, and the strength of the noise.
        rng: random generator of the noise.
        config: limits of tone and noise.

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
    """Add a band of one grey value along the top and the left edge, like those of collimators.

    Args:
        image: uint8 [H, W]; not modified.
        draw: [3], random numbers in [0, 1): height of the top band, width of the left band, grey
            value.
        config: maximum size of the bands.

    Returns:
        uint8 [H, W].
    """
    height = round(image.shape[0] * config.max_share * draw[0])
    width = round(image.shape[1] * config.max_share * draw[1])
    # Both ends of the draw give the extremes: 0 is black, and just below 1 is white.
    grey = round(2 * MAX_SHADE * min(draw[2], 1 - draw[2]))
    grey = grey if draw[2] < 0.5 else 255 - grey
    banded = image.copy()
    banded[:height] = grey
    banded[:, :width] = grey
    return banded
