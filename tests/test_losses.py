"""The loss against its formula in NumPy, with missing landmarks and shared batches."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from cephray.config import LossConfig
from cephray.losses import count_visible, two_stage_loss

B, K = 5, 4
Points = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


@pytest.fixture
def points() -> Points:
    rng = np.random.default_rng(0)
    coarse, refined, truth = rng.random((3, B, K, 2)).astype(np.float32)
    truth[0, 1] = np.nan
    truth[:3, 2, 0] = np.nan
    return coarse, refined, truth


def test_equals_the_formula(points: Points) -> None:
    coarse, refined, truth = points
    config = LossConfig(
        detection_weight=0.5, refinement_weight=2.0, landmark_weights=(1.0, 2.0, 3.0, 0.0)
    )
    terms = two_stage_loss(coarse, refined, truth, config)
    there = np.asarray(~np.isnan(truth).any(axis=-1))
    detection = np.mean(np.square(coarse - truth)[there].astype(np.float64))
    refinement = 0.0
    for k, weight in enumerate(config.landmark_weights or ()):
        squared = np.square(refined - truth)[:, k][there[:, k]].astype(np.float64)
        refinement += weight * float(squared.mean())
    assert float(terms.detection) == pytest.approx(detection, rel=1e-6)
    assert float(terms.refinement) == pytest.approx(refinement, rel=1e-6)
    assert float(terms.total) == pytest.approx(0.5 * detection + 2.0 * refinement, rel=1e-6)


@pytest.mark.parametrize("share", [0, 2, 5])
def test_shares_of_a_batch_sum_to_the_whole(share: int, points: Points) -> None:
    coarse, refined, truth = points
    counts = count_visible(truth)
    whole = two_stage_loss(*points, LossConfig())
    parts = [
        two_stage_loss(coarse[part], refined[part], truth[part], LossConfig(), counts)
        for part in (slice(None, share), slice(share, None))
    ]
    np.testing.assert_allclose(np.sum(parts, axis=0), whole, rtol=1e-6)


def test_missing_landmarks_have_no_gradient(
    points: Points,
) -> None:
    coarse, refined, truth = map(tf.constant, points)
    with tf.GradientTape() as tape:
        tape.watch([coarse, refined])
        total = two_stage_loss(coarse, refined, truth, LossConfig()).total
    missing = np.isnan(points[2]).any(axis=-1)
    for gradient in tape.gradient(total, [coarse, refined]):
        assert np.all(gradient.numpy()[missing] == 0)
        assert np.all(gradient.numpy()[~missing] != 0)


def test_a_landmark_that_no_film_shows() -> None:
    truth = np.full((2, K, 2), np.nan, np.float32)
    assert float(two_stage_loss(truth * 0 + 1, truth, truth, LossConfig()).total) == 0.0
