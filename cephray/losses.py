"""The multi-head refinement loss (Khalid et al. 2024), and robust variants of it.

It knows the landmarks of both stages and the truth, in normalised coordinates, but no model. It
runs on every Keras backend.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
from keras import ops

from cephray.config import LossConfig

Tensor = Any


class LossTerms(NamedTuple):
    """The total loss and its two terms before weighting, each a scalar."""

    total: Tensor
    detection: Tensor
    refinement: Tensor


def count_visible(truth: Tensor) -> Tensor:
    """Count the films on which each landmark is marked.

    Args:
        truth: [B, K, 2], normalised; NaN where a landmark is missing.

    Returns:
        [K], of the same dtype as `truth`.
    """
    return ops.sum(ops.cast(_visible(truth), _dtype(truth)), axis=(0, 2))


def two_stage_loss(
    coarse: Tensor,
    passes: Tensor,
    truth: Tensor,
    config: LossConfig,
    counts: Tensor | None = None,
    extent_mm: Tensor | None = None,
    spread: Tensor | None = None,
    heatmap: Tensor | None = None,
    regressed: Tensor | None = None,
) -> LossTerms:
    """Compute the loss of both stages' coordinates.

    total = w_d · E(coarse, truth) + w_r · Σ_k w_k · E(refined_k, truth_k)

    E is the mean error over films and both coordinates. The paper uses the squared error of
    normalised coordinates. If `config.every_pass` is True, E is also the mean over the refinement
    passes. Otherwise only the last pass contributes.

    If a regressed estimate is given, from which the coarse one was found, w_d times its error is
    added as well.

    If a heatmap is given, its cross-entropy with a Gaussian around each true landmark is added. It
    is averaged over the landmarks and weighted by w_h.

    Missing landmarks do not contribute. A worker that holds a part of a batch passes the counts
    of the whole batch. The losses of all workers then sum to the loss of the whole batch.

    Args:
        coarse: [B, K, 2], normalised. All floating tensors must have the same dtype.
        passes: [B, P, K, 2], normalised, the landmarks after each refinement pass.
        truth: [B, K, 2], normalised; NaN where a landmark is missing.
        config: error, unit and weights.
        counts: [K], number of films in the whole batch on which each landmark is marked. If None,
            they are counted from `truth`.
        extent_mm: [B, 2], width and height of the films, millimetres. Required if `config.unit`
            is "mm".
        spread: [B, P, K], scale of Laplace's distribution as a fraction of the film's height.
            Required if `config.error` is "laplace".
        heatmap: [B, h, w, K], logits of the position of each landmark, or None.
        regressed: [B, K, 2], normalised, the first estimate of stage one, or None.

    Returns:
        The total loss and its two terms.
    """
    weights = config.landmark_weights or (1.0,) * truth.shape[1]
    if counts is None:
        counts = count_visible(truth)
    if not config.every_pass:
        passes = passes[:, -1:]
        spread = None if spread is None else spread[:, -1:]

    if config.unit == "mm":
        extent = ops.expand_dims(extent_mm, 1)  # [B, 1, 2]
        height = extent[:, :, 1:]  # [B, 1, 1]
    else:
        extent, height = 1.0, 1.0
    visible = _visible(truth)
    # NaN is masked before any product: masked later, it would reach the gradient as 0 · NaN.
    of_passes = ops.where(visible[:, None], passes - truth[:, None], 0.0)
    of_passes = of_passes * (extent if config.unit == "film" else extent[:, None])

    # At least 1, so that a landmark that is missing on all films does not divide by 0.
    per_head = 1.0 / (2.0 * ops.maximum(counts, 1.0))  # [K]
    overall = 1.0 / (2.0 * ops.maximum(ops.sum(counts), 1.0))

    def of_stage_one(points: Tensor) -> Tensor:
        difference = ops.where(visible, points - truth, 0.0) * extent
        return ops.sum(_penalty(difference, config)) * overall

    detection = of_stage_one(coarse)
    if config.error == "laplace":
        penalty = _laplace(of_passes, (spread * height)[..., None])
        penalty = ops.where(visible[:, None], penalty, 0.0)
    else:
        penalty = _penalty(of_passes, config)
    of_heads = ops.sum(ops.mean(penalty, axis=1), axis=(0, 2))  # [K]
    refinement = ops.sum(of_heads * per_head * ops.cast(weights, _dtype(of_heads)))
    total = config.detection_weight * detection + config.refinement_weight * refinement
    if regressed is not None:
        total += config.detection_weight * of_stage_one(regressed)
    if heatmap is not None:
        per_landmark = 1.0 / ops.maximum(ops.sum(counts), 1.0)
        entropy = _heatmap_entropy(heatmap, truth, config.heatmap_sigma)
        total += config.heatmap_weight * per_landmark * ops.sum(entropy)
    return LossTerms(total, detection, refinement)


def _heatmap_entropy(logits: Tensor, truth: Tensor, sigma: float) -> Tensor:
    """Return the cross-entropy of heatmaps with Gaussians around the truth: [B, K].

    It is 0 for landmarks that are missing or outside the image.
    """
    inside = _visible(truth)[..., 0] & ops.all((truth >= 0) & (truth <= 1), axis=-1)
    truth = ops.where(inside[..., None], truth, 0.5)
    height, width = logits.shape[1:3]
    across = _gaussian(truth[..., 0] * width, width, sigma)  # [B, K, w]
    down = _gaussian(truth[..., 1] * height, height, sigma)  # [B, K, h]
    expected = ops.einsum("bhwk,bkh,bkw->bk", logits, down, across)
    entropy = ops.logsumexp(logits, axis=(1, 2)) - expected
    return ops.where(inside, entropy, 0.0)


def _gaussian(mean: Tensor, cells: int, sigma: float) -> Tensor:
    """Return a Gaussian over the cells of one axis, normalised to a sum of 1.

    Args:
        mean: [...], cells, counted from the edge of the first cell.
        cells: number of cells.
        sigma: standard deviation, cells.

    Returns:
        [..., cells].
    """
    centres = ops.arange(cells, dtype=_dtype(mean)) + 0.5
    return ops.softmax(-0.5 * ops.square((centres - mean[..., None]) / sigma), axis=-1)


def _dtype(array: Tensor) -> str:
    name: str = keras.backend.standardize_dtype(array.dtype)
    return name


def _visible(truth: Tensor) -> Tensor:
    """Return which landmarks are not missing: [B, K, 1]."""
    return ops.all(ops.isfinite(truth), axis=-1, keepdims=True)


def _penalty(difference: Tensor, config: LossConfig) -> Tensor:
    """Return the penalty of each coordinate's difference, elementwise."""
    if config.error == "squared":
        return ops.square(difference)
    distance = ops.abs(difference)
    if config.error != "wing":  # also for "laplace": stage one has no spread
        return distance
    # Feng et al. 2018, equation 5: logarithmic below the width, linear above it.
    width, curvature = config.wing_width, config.wing_curvature
    height = width * math.log1p(width / curvature)
    near = width * ops.log1p(distance / curvature)
    return ops.where(distance < width, near, distance - width + height)


def _laplace(difference: Tensor, scale: Tensor) -> Tensor:
    """Return the negative log-likelihood of Laplace's distribution, elementwise."""
    return ops.abs(difference) / scale + ops.log(2.0 * scale)
