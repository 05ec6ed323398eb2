"""The change of a head's last layer, fitted to marks by ridge regression with a shrunk offset.

Each landmark has a head of its own, whose last layer is linear: least squares have a closed form.
The change of the kernel is kept small by a ridge penalty. The mean offset, which the bias takes
up, is shrunk towards zero by its own uncertainty, since the marks of three films do not say much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

FloatArray = NDArray[np.floating[Any]]

# The variance of a landmark's offset over films is estimated together with that of all landmarks,
# as if this many films more had shown what is expected from them.
_PRIOR_FILMS = 2.0
# Standard deviations of the mixture's components, in those of a mean offset, and how many
# landmarks each component counts for besides those of the data.
_SCALES = np.array([0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0])
_PRIOR_COUNT = 0.3
_EM_STEPS = 100
_BIAS_RIDGE = 1e-6  # keeps the equations solvable where a landmark is not marked


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the samples of one film or of several, from which the change is computed.

    A sample is what a head sees in one window: the U inputs of its last layer, and a constant 1.
    What the change has to explain of it is the distance from the head's answer to the mark, in
    the unit of the heads.

    Args:
        gram: [K, U + 1, U + 1], sums of the products of the inputs.
        cross: [K, U + 1, 2], sums of the products of inputs and distances.
        count: [K], numbers of samples.
    """

    gram: FloatArray
    cross: FloatArray
    count: FloatArray

    def __add__(self, other: Moments) -> Moments:
        """Return the sums over the samples of both."""
        return Moments(self.gram + other.gram, self.cross + other.cross, self.count + other.count)


def moments(hidden: FloatArray, distances: FloatArray) -> Moments:
    """Sum over M samples.

    Args:
        hidden: [M, K, U], inputs of the heads' last layer.
        distances: [M, K, 2], distances from the heads' answers to the marks, in the unit of the
            heads; NaN where a landmark is not marked.
    """
    known = np.asarray(np.isfinite(distances).all(axis=-1))  # [M, K]
    inputs = np.concatenate([hidden, np.ones((*hidden.shape[:2], 1))], axis=-1)
    inputs = np.where(known[..., None], inputs, 0.0).transpose(1, 0, 2)  # [K, M, U + 1]
    wanted = np.where(known[..., None], distances, 0.0).transpose(1, 0, 2)
    turned = inputs.transpose(0, 2, 1)
    return Moments(turned @ inputs, turned @ wanted, known.sum(axis=0).astype(np.float64))


def shrinkage(
    offsets: FloatArray, spreads: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return the mean offset of each landmark, and by what factor to shrink it.

    The true offsets are taken to be drawn from a mixture of normal distributions around 0, whose
    weights are estimated from all landmarks together. Many small offsets beside a few large ones
    are then shrunk as they should be. The factor is that of the posterior mean.

    Few films say little about how much the marks of a landmark vary. The spread that the network
    expects says in what ratio to those of other landmarks.

    Source: Stephens, False discovery rates: a new deal, Biostatistics, 2017 (adaptive shrinkage).

    Args:
        offsets: [N, K, 2], distances from the network's landmarks to the marks on N films; NaN
            where a landmark is not marked.
        spreads: [N, K], spreads that the network expects, in any unit; None if it estimates none.

    Returns:
        Means [K, 2], 0 where a landmark is not marked at all; and factors [K] from 0 to 1.
    """
    known = np.asarray(np.isfinite(offsets).all(axis=-1))
    count = known.sum(axis=0)  # [K]
    values = np.where(known[..., None], offsets, 0.0)
    means = values.sum(axis=0) / np.maximum(count, 1)[:, None]
    squares = np.where(known[..., None], (offsets - means) ** 2, 0.0).sum(axis=(0, 2))  # [K]
    freedom = np.maximum(count - 1, 0)
    if not freedom.sum():
        return means, np.zeros(len(means))
    share = np.ones(len(means)) if spreads is None else (spreads**2).mean(axis=0)
    expected = share * squares.sum() / (share * freedom).sum()
    # Of the mean, along one axis.
    noise = (squares + _PRIOR_FILMS * expected) / (freedom + _PRIOR_FILMS) / 2
    noise = np.maximum(noise, 1e-12) / np.maximum(count, 1)
    variances = np.median(noise) * _SCALES**2  # [J], of the components
    density = _density(means, noise[:, None] + variances)  # [K, J]
    weights = np.full(len(variances), 1 / len(variances))
    for _ in range(_EM_STEPS):
        shares = weights * density
        shares /= shares.sum(axis=1, keepdims=True)
        weights = shares[count > 0].sum(axis=0) + _PRIOR_COUNT
        weights /= weights.sum()
    factors = (shares * variances / (variances + noise[:, None])).sum(axis=1)
    return means, np.where(count > 0, factors, 0.0)


def _density(means: FloatArray, variances: FloatArray) -> FloatArray:
    """Return normal densities around 0 in the plane, up to a factor for each landmark.

    Args:
        means: [K, 2].
        variances: [K, J], along one axis.
    """
    logs = -(means**2).sum(axis=-1)[:, None] / (2 * variances) - np.log(variances)
    density: FloatArray = np.exp(logs - logs.max(axis=1, keepdims=True))
    return density


def fit_change(
    sums: Moments, ridge: float, means: FloatArray, factors: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Fit the change of the last layer.

    Args:
        sums: over the samples of all films.
        ridge: penalty of the kernel's change, relative to the mean square of the inputs. If it is
            infinite, the kernel stays as it is.
        means: [K, 2], mean offsets, in the unit of the heads.
        factors: [K], by which they are shrunk.

    Returns:
        The changes of the kernel [K, U, 2] and of the bias [K, 2].
    """
    heads, size, _ = sums.gram.shape
    # Marks that are moved back by what shrinkage takes off the mean offset.
    back = (1 - factors)[:, None] * means  # [K, 2]
    cross = sums.cross - sums.gram[:, :, -1:] * back[:, None]
    count = np.maximum(sums.count, 1.0)
    if np.isinf(ridge):
        bias = cross[:, -1] / count[:, None]
        return np.zeros((heads, size - 1, 2)), np.where(sums.count[:, None] > 0, bias, 0.0)
    power = np.trace(sums.gram[:, :-1, :-1], axis1=1, axis2=2) / (count * (size - 1))
    penalty = np.zeros((heads, size))
    penalty[:, :-1] = (ridge * count * np.maximum(power, 1e-12))[:, None]
    penalty[:, -1] = _BIAS_RIDGE * count
    penalty += 1e-12  # where a landmark is not marked, all else is 0
    # Of a positive definite matrix, this is quicker than `np.linalg.solve`, most of all beside
    # other processes.
    solved = np.stack(
        [
            cho_solve(cho_factor(gram + np.diag(added)), wanted)
            for gram, added, wanted in zip(sums.gram, penalty, cross, strict=True)
        ]
    )
    return solved[:, :-1], solved[:, -1]


def folds(count: int, most: int, seed: int) -> list[NDArray[np.int64]]:
    """Divide films into folds of nearly equal size.

    Args:
        count: number of films.
        most: largest number of folds. With fewer films, each is a fold.
        seed: seed of the order.
    """
    order = np.random.default_rng(seed).permutation(count)
    return [np.sort(part) for part in np.array_split(order, min(most, count))]


def total(parts: Sequence[Moments]) -> Moments:
    """Return the sums over the samples of all films."""
    found = parts[0]
    for part in parts[1:]:
        found += part
    return found
