"""The multi-head refinement loss (Khalid et al. 2024), on any Keras backend.

It knows both stages' landmarks and the truth, in normalised coordinates, and no model.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from keras import ops

from cephray.config import LossConfig

Tensor = Any


class LossTerms(NamedTuple):
    """Scalars: the whole loss, and its two terms before their weights."""

    total: Tensor
    detection: Tensor
    refinement: Tensor


def count_visible(truth: Tensor) -> Tensor:
    """Count the films that show each landmark.

    Args:
        truth: [B, K, 2]; NaN where a landmark is missing.

    Returns:
        float32 [K]
    """
    return ops.sum(ops.cast(_visible(truth), "float32"), axis=(0, 2))


def two_stage_loss(
    coarse: Tensor,
    refined: Tensor,
    truth: Tensor,
    config: LossConfig,
    counts: Tensor | None = None,
) -> LossTerms:
    """Mean squared error of both stages, summed over the refinement heads.

    total = w_d · MSE(coarse, truth) + w_r · Σ_k w_k · MSE(refined_k, truth_k)

    Missing landmarks count for nothing. A worker that holds a part of a batch gives the counts of
    the whole batch; its loss is then its share, and the workers' shares sum to the whole.

    Args:
        coarse: [B, K, 2], normalised.
        refined: [B, K, 2], normalised.
        truth: [B, K, 2], normalised; NaN where a landmark is missing.
        config: the weights.
        counts: [K], films of the whole batch that show each landmark; none: counted here.

    Returns:
        The loss and its terms.
    """
    weights = config.landmark_weights or (1.0,) * truth.shape[1]
    if counts is None:
        counts = count_visible(truth)
    # A landmark that no film shows has no errors to divide.
    per_head = 1.0 / (2.0 * ops.maximum(counts, 1.0))  # [K]
    overall = 1.0 / (2.0 * ops.maximum(ops.sum(counts), 1.0))
    detection = ops.sum(_squared_errors(coarse, truth)) * overall
    refinement = ops.sum(
        _squared_errors(refined, truth) * per_head * ops.convert_to_tensor(weights, "float32")
    )
    total = config.detection_weight * detection + config.refinement_weight * refinement
    return LossTerms(total, detection, refinement)


def _visible(truth: Tensor) -> Tensor:
    """Tell which landmarks are there: [B, K, 1]."""
    return ops.all(ops.isfinite(truth), axis=-1, keepdims=True)


def _squared_errors(predicted: Tensor, truth: Tensor) -> Tensor:
    """Sum over films and both coordinates: [K]. NaN is cut off before it meets a product."""
    difference = ops.where(_visible(truth), predicted - truth, 0.0)
    return ops.sum(ops.square(difference), axis=(0, 2))
