"""The change of the dense layers: it learns what it can, and nothing where there are no marks."""

from __future__ import annotations

import numpy as np
import pytest

from cephray.adapt.frozen import DenseLayer, DenseLayers, Windows, hidden_units
from cephray.adapt.tuning import Tuner

K, INPUTS, UNITS = 3, 12, 6


@pytest.fixture
def layers() -> DenseLayers:
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.3, shape).astype(np.float32)

    return DenseLayers(
        DenseLayer(draw(K, INPUTS, UNITS), draw(K, UNITS)),
        DenseLayer(draw(K, UNITS, 3), draw(K, 3)),
    )


def answers(layers: DenseLayers, features: np.ndarray) -> np.ndarray:
    hidden = hidden_units(features, layers.hidden)
    found: np.ndarray = np.einsum("mku,kuo->mko", hidden, layers.last.kernel)
    return found + layers.last.bias


def windows(layers: DenseLayers, count: int, seed: int) -> Windows:
    """Draw windows whose marks other heads would find: a change of rank 1 of the hidden layer."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, K, INPUTS)).astype(np.float16)
    other = np.random.default_rng(9)
    narrow, wide = other.normal(0, 0.3, (K, INPUTS, 1)), other.normal(0, 0.3, (K, 1, UNITS))
    kernel = layers.hidden.kernel + narrow @ wide
    changed = DenseLayers(DenseLayer(kernel, layers.hidden.bias), layers.last)
    return Windows(features, answers(changed, features)[..., :2].astype(np.float32))


def errors(layers: DenseLayers, of: Windows) -> np.ndarray:
    found: np.ndarray = answers(layers, of.features)[..., :2] - of.distances
    distances: np.ndarray = np.sqrt((found**2).sum(axis=-1))
    return distances


def test_a_change_of_low_rank_is_learnt(layers: DenseLayers) -> None:
    parts = [windows(layers, 2000, seed) for seed in range(2)]
    change, last = Tuner(layers).fit(parts, layers, 2, 0)
    assert change.narrow.shape == (K, INPUTS, 2)
    assert change.wide.shape == (K, 2, UNITS)
    tuned = DenseLayers(change.applied(layers.hidden), last)
    test = windows(layers, 400, 9)
    assert errors(tuned, test).mean() < 0.6 * errors(layers, test).mean()
    np.testing.assert_array_equal(last.kernel[..., 2], layers.last.kernel[..., 2])
    np.testing.assert_array_equal(last.bias[:, 2], layers.last.bias[:, 2])


def test_a_landmark_that_is_not_marked_keeps_its_head(layers: DenseLayers) -> None:
    part = windows(layers, 50, 0)
    part.distances[:, 1] = np.nan
    part.distances[::2, 2] = np.nan
    change, last = Tuner(layers).fit([part], layers, 2, 0)
    assert not (change.narrow @ change.wide)[1].any()
    assert not change.bias[1].any()
    np.testing.assert_allclose(last.kernel[1], layers.last.kernel[1], rtol=1e-6)
    assert (change.narrow @ change.wide)[2].any()
    # Marks that are missing say nothing: those of other windows alone are learnt.
    known = Windows(part.features[1::2], part.distances[1::2])
    assert np.isfinite(known.distances[:, 2]).all()
    assert np.isfinite(change.wide).all()


def test_the_same_seed_gives_the_same_change(layers: DenseLayers) -> None:
    part = windows(layers, 50, 0)
    tuner = Tuner(layers)
    one = tuner.fit([part], layers, 2, 3)
    tuner.fit([windows(layers, 50, 1)], layers, 2, 4)  # nothing of it is left
    other = tuner.fit([part], layers, 2, 3)
    np.testing.assert_array_equal(one[0].wide, other[0].wide)
    np.testing.assert_array_equal(one[1].kernel, other[1].kernel)
