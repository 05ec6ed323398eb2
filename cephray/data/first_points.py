"""Centres of the first windows in training: true landmarks with noise, or stage one's estimate.

It knows landmarks, but no films and no networks.
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
    """Draw the points on which the first windows of a film are centred.

    Args:
        landmarks_norm: [K, 2], true landmarks, normalised; NaN where missing.
        extent_mm: [2], width and height of the film's frame, millimetres.
        rng: random generator.
        config: switch, probability and strength of the noise.

    Returns:
        [K, 2], normalised. Missing landmarks are NaN. All points are NaN if the windows are to be
        centred on the estimate of stage one.
    """
    coin, strength = rng.random(2)
    noise = rng.standard_normal(landmarks_norm.shape)
    if not config.enabled or coin >= config.probability:
        return np.full_like(landmarks_norm, np.nan)
    sigma_mm = config.min_mm + (config.max_mm - config.min_mm) * strength
    points: Landmarks = (landmarks_norm + sigma_mm * noise / extent_mm).astype(np.float32)
    return points
