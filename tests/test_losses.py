"""Tests the loss against its formula in NumPy, with missing landmarks and split batches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from cephray.config import LossConfig
from cephray.losses import count_visible, two_stage_loss

B, P, K = 5, 3, 4
Points = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


@pytest.fixture
def points() -> Points:
    rng = np.random.default_rng(0)
    coarse, truth = rng.random((2, B, K, 2)).astype(np.float32)
    passes = rng.random((B, P, K, 2)).astype(np.float32)
    truth[0, 1] = np.nan
    truth[:3, 2, 0] = np.nan
    return coarse, passes, truth


def test_equals_the_formula(points: Points) -> None:
    coarse, passes, truth = points
    refined = passes[:, -1]
    config = LossConfig(
        detection_weight=0.5, refinement_weight=2.0, landmark_weights=(1.0, 2.0, 3.0, 0.0)
    )
    terms = two_stage_loss(coarse, passes, truth, config)
    there = np.asarray(~np.isnan(truth).any(axis=-1))
    detection = np.mean(np.square(coarse - truth)[there].astype(np.float64))
    refinement = 0.0
    for k, weight in enumerate(config.landmark_weights or ()):
        squared = np.square(refined - truth)[:, k][there[:, k]].astype(np.float64)
        refinement += weight * float(squared.mean())
    assert float(terms.detection) == pytest.approx(detection, rel=1e-6)
    assert float(terms.refinement) == pytest.approx(refinement, rel=1e-6)
    assert float(terms.total) == pytest.approx(0.5 * detection + 2.0 * refinement, rel=1e-6)


@pytest.mark.parametrize("split", [0, 2, 5])
def test_losses_of_parts_sum_to_the_loss_of_the_batch(split: int, points: Points) -> None:
    coarse, passes, truth = points
    counts = count_visible(truth)
    whole = two_stage_loss(*points, LossConfig())
    parts = [
        two_stage_loss(coarse[part], passes[part], truth[part], LossConfig(), counts)
        for part in (slice(None, split), slice(split, None))
    ]
    np.testing.assert_allclose(np.sum(parts, axis=0), whole, rtol=1e-6)


def scalar_loss(difference: float, spread: float, config: LossConfig) -> float:
    """Return the error of one coordinate by the definition of each kind of error."""
    size = abs(difference)
    if config.error == "squared":
        return size**2
    if config.error == "absolute":
        return size
    if config.error == "laplace":
        return -math.log(math.exp(-size / spread) / (2 * spread))
    if size < config.wing_width:
        return config.wing_width * math.log(1 + size / config.wing_curvature)
    ends = config.wing_width * math.log(1 + config.wing_width / config.wing_curvature)
    return ends + size - config.wing_width


@pytest.mark.parametrize("error", ["squared", "absolute", "wing", "laplace"])
@pytest.mark.parametrize("unit", ["film", "mm"])
@pytest.mark.parametrize("every_pass", [False, True])
def test_every_kind_of_error_equals_a_loop(
    error: Any, unit: Any, every_pass: bool, points: Points
) -> None:
    coarse, passes, truth = points
    rng = np.random.default_rng(1)
    extent_mm = rng.uniform(1, 9, (B, 2)).astype(np.float32)  # errors on both sides of the wing's
    spread = rng.uniform(0.1, 0.5, (B, P, K)).astype(np.float32)
    config = LossConfig(error=error, unit=unit, every_pass=every_pass)
    terms = two_stage_loss(coarse, passes, truth, config, None, extent_mm, spread)

    of_coarse = LossConfig(error="absolute") if error == "laplace" else config
    counted = range(P) if every_pass else [P - 1]
    detection: list[float] = []
    refinement = 0.0
    for k in range(K):
        of_head: list[float] = []
        for b in range(B):
            if np.isnan(truth[b, k]).any():
                continue
            for axis in range(2):
                factor = float(extent_mm[b, axis]) if unit == "mm" else 1.0
                off = float(coarse[b, k, axis] - truth[b, k, axis]) * factor
                detection.append(scalar_loss(off, 0.0, of_coarse))
                for p in counted:
                    off = float(passes[b, p, k, axis] - truth[b, k, axis]) * factor
                    scale = float(spread[b, p, k])
                    scale *= float(extent_mm[b, 1]) if unit == "mm" else 1.0
                    of_head.append(scalar_loss(off, scale, config))
        refinement += sum(of_head) / len(of_head)
    assert float(terms.detection) == pytest.approx(sum(detection) / len(detection), rel=1e-5)
    assert float(terms.refinement) == pytest.approx(refinement, rel=1e-5)


def test_laplace_likelihood_is_best_at_the_mean_error() -> None:
    """The best spread is the mean absolute error."""
    truth = np.zeros((4, 1, 2), np.float32)
    passes = np.array([1, -2, 3, 6], np.float32).reshape(4, 1, 1, 1) * np.ones((1, 1, 1, 2))
    config = LossConfig(error="laplace", unit="mm")

    def loss(spread: float) -> float:
        scale = np.full((4, 1, 1), spread, np.float32)
        extent_mm = np.ones((4, 2), np.float32)
        return float(
            two_stage_loss(
                truth, passes.astype(np.float32), truth, config, None, extent_mm, scale
            ).refinement
        )

    assert loss(3.0) < min(loss(2.9), loss(3.1))


def test_missing_landmarks_have_no_gradient(
    points: Points,
) -> None:
    coarse, passes, truth = map(tf.constant, points)
    with tf.GradientTape() as tape:
        tape.watch([coarse, passes])
        total = two_stage_loss(coarse, passes, truth, LossConfig()).total
    missing = np.isnan(points[2]).any(axis=-1)
    of_coarse, of_passes = tape.gradient(total, [coarse, passes])
    assert not np.any(of_passes[:, :-1])  # only the last pass contributes
    for gradient in (of_coarse, of_passes[:, -1]):
        assert np.all(gradient.numpy()[missing] == 0)
        assert np.all(gradient.numpy()[~missing] != 0)


def test_the_loss_of_landmarks_missing_on_all_films_is_zero() -> None:
    truth = np.full((2, K, 2), np.nan, np.float32)
    assert float(two_stage_loss(truth, truth[:, None], truth, LossConfig()).total) == 0.0


def test_the_error_of_a_regressed_estimate_is_added(points: Points) -> None:
    coarse, passes, truth = points
    config = LossConfig(detection_weight=0.7)
    first = (coarse + 0.1).astype(np.float32)
    both = two_stage_loss(coarse, passes, truth, config, regressed=first)
    plain = two_stage_loss(coarse, passes, truth, config)
    alone = two_stage_loss(first, passes, truth, config)
    added = float(both.total) - float(plain.total)
    assert added == pytest.approx(0.7 * float(alone.detection), rel=1e-5)
    assert float(both.detection) == float(plain.detection)


def test_the_cross_entropy_of_heatmaps_equals_a_loop(points: Points) -> None:
    coarse, passes, truth = points
    truth = truth.copy()
    truth[0, 0] = (1.2, 0.5)  # outside the image
    config = LossConfig(heatmap_weight=0.7, heatmap_sigma=0.8)
    height, width = 5, 4
    logits = np.random.default_rng(1).normal(size=(B, height, width, K))
    counts = count_visible(truth)
    arguments = (coarse, passes, truth, config, counts)
    plain = two_stage_loss(*arguments)
    both = two_stage_loss(*arguments, heatmap=logits.astype(np.float32))

    y, x = np.mgrid[:height, :width] + 0.5
    entropies = []
    for film in range(B):
        for k in range(K):
            place = truth[film, k]
            if not np.isfinite(place).all() or not ((place >= 0) & (place <= 1)).all():
                continue
            gaussian = np.exp(
                -((x - place[0] * width) ** 2 + (y - place[1] * height) ** 2) / (2 * 0.8**2)
            )
            gaussian /= gaussian.sum()
            log_share = logits[film, ..., k] - np.log(np.exp(logits[film, ..., k]).sum())
            entropies.append(-(gaussian * log_share).sum())
    assert 0 < len(entropies) < np.isfinite(truth).all(axis=-1).sum() == np.sum(counts)
    expected = 0.7 * sum(entropies) / np.sum(counts)
    difference = float(both.total) - float(plain.total)
    assert difference == pytest.approx(expected, rel=1e-4)
    assert float(both.refinement) == float(plain.refinement)
