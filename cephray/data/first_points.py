"""Centres of a training film's first windows: the truth with random noise, or the own estimate.

It knows NumPy and landmarks, and no film or network.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cephray.config import WindowNoiseConfig

Landmarks = NDArray[np.float32]  # [K, 2], normalised; NaN where missing


def draw_first_points(
    landmarks_norm: Landmarks,
    extent_mm: NDArray[np.float32],
    rng: np.random.Generator,
    config: WindowNoiseConfig,
) -> Landmarks:
    """Draw the points that a film's first windows stand around.

    Args:
        landmarks_norm: [K, 2], the truth.
        extent_mm: [2], width and height of the film.
        rng: source of everything random.
        config: switch, probability and strength.

    Returns:
        [K, 2], normalised; NaN throughout where the windows follow the network's estimate, and
        for landmarks that are missing.
    """
    coin, strength = rng.random(2)
    noise = rng.standard_normal(landmarks_norm.shape)
    if not config.enabled or coin >= config.probability:
        return np.full_like(landmarks_norm, np.nan)
    sigma_mm = config.min_mm + (config.max_mm - config.min_mm) * strength
    points: Landmarks = (landmarks_norm + sigma_mm * noise / extent_mm).astype(np.float32)
    return points
