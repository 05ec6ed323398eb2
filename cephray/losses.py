"""The multi-head refinement loss (Khalid et al. 2024), and robust forms of it.

It knows both stages' landmarks and the truth, in normalised coordinates, and no model; it runs on
any Keras backend.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
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
        [K], of the type of the truth.
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
) -> LossTerms:
    """Mean error of both stages' coordinates, summed over the refinement heads.

    total = w_d · E(coarse, truth) + w_r · Σ_k w_k · E(refined_k, truth_k)

    E is the mean over films and both coordinates: in the paper of squares, in widths and heights
    of the film. With `every_pass` it is the mean over the refinement passes too, otherwise the
    last pass counts alone.

    Where there is a heatmap, w_h · its cross-entropy with a Gaussian around each true landmark is
    added, the mean over landmarks.

    Missing landmarks do not contribute. A worker that holds a part of a batch gives the counts of
    the whole batch; its loss is then its share, and the workers' shares sum to the whole.

    Args:
        coarse: [B, K, 2], normalised. All floating tensors have one type.
        passes: [B, P, K, 2], normalised, after each refinement pass.
        truth: [B, K, 2], normalised; NaN where a landmark is missing.
        config: error, unit and weights.
        counts: [K], number of films of the whole batch that show each landmark. If None, they are
            counted from `truth`.
        extent_mm: [B, 2], width and height of the films; needed if the unit is millimetres.
        spread: [B, P, K], heights of the film; needed if the error is Laplace's.
        heatmap: [B, h, w, K], logits of each landmark's place.

    Returns:
        The loss and its terms.
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
    # NaN is cut off before it meets a product.
    of_coarse = ops.where(visible, coarse - truth, 0.0) * extent
    of_passes = ops.where(visible[:, None], passes - truth[:, None], 0.0)
    of_passes = of_passes * (extent if config.unit == "film" else extent[:, None])

    # A landmark that no film shows has no errors to divide.
    per_head = 1.0 / (2.0 * ops.maximum(counts, 1.0))  # [K]
    overall = 1.0 / (2.0 * ops.maximum(ops.sum(counts), 1.0))
    detection = ops.sum(_penalty(of_coarse, config)) * overall
    if config.error == "laplace":
        penalty = _laplace(of_passes, (spread * height)[..., None])
        penalty = ops.where(visible[:, None], penalty, 0.0)
    else:
        penalty = _penalty(of_passes, config)
    of_heads = ops.sum(ops.mean(penalty, axis=1), axis=(0, 2))  # [K]
    refinement = ops.sum(of_heads * per_head * ops.cast(weights, _dtype(of_heads)))
    total = config.detection_weight * detection + config.refinement_weight * refinement
    if heatmap is not None:
        per_landmark = 1.0 / ops.maximum(ops.sum(counts), 1.0)
        entropy = _heatmap_entropy(heatmap, truth, config.heatmap_sigma)
        total += config.heatmap_weight * per_landmark * ops.sum(entropy)
    return LossTerms(total, detection, refinement)


def _heatmap_entropy(logits: Tensor, truth: Tensor, sigma: float) -> Tensor:
    """Return the cross-entropy of places with Gaussians around the truth: [B, K].

    It is 0 for landmarks that are missing or beyond the image.
    """
    inside = _visible(truth)[..., 0] & ops.all((truth >= 0) & (truth <= 1), axis=-1)
    truth = ops.where(inside[..., None], truth, 0.5)
    height, width = logits.shape[1:3]
    across = _gaussian(truth[..., 0] * width, width, sigma)  # [B, K, w]
    down = _gaussian(truth[..., 1] * height, height, sigma)  # [B, K, h]
    expected = ops.einsum("bhwk,bkh,bkw->bk", logits, down, across)
    entropy = ops.logsumexp(logits, axis=(1, 2)) - expected
    return ops.where(inside, entropy, 0.0)


def _gaussian(place: Tensor, cells: int, sigma: float) -> Tensor:
    """Return the shares of each cell in a Gaussian around places [...], in cells: [..., cells]."""
    centres = ops.arange(cells, dtype=_dtype(place)) + 0.5
    return ops.softmax(-0.5 * ops.square((centres - place[..., None]) / sigma), axis=-1)


def _dtype(array: Tensor) -> str:
    name: str = keras.backend.standardize_dtype(array.dtype)
    return name


def _visible(truth: Tensor) -> Tensor:
    """Return which landmarks are not missing: [B, K, 1]."""
    return ops.all(ops.isfinite(truth), axis=-1, keepdims=True)


def _penalty(difference: Tensor, config: LossConfig) -> Tensor:
    """Return the penalty of each coordinate's difference."""
    if config.error == "squared":
        return ops.square(difference)
    distance = ops.abs(difference)
    if config.error != "wing":  # of Laplace's likelihood, stage one knows no spread
        return distance
    # Feng et al. 2018, equation 5: logarithmic below the width, continued by a line.
    width, curvature = config.wing_width, config.wing_curvature
    height = width * math.log1p(width / curvature)
    near = width * ops.log1p(distance / curvature)
    return ops.where(distance < width, near, distance - width + height)


def _laplace(difference: Tensor, scale: Tensor) -> Tensor:
    """Return the negative logarithm of Laplace's density."""
    return ops.abs(difference) / scale + ops.log(2.0 * scale)
