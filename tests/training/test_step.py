"""The training step: parts of a batch add up to the whole."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from cephray.config import LossConfig
from cephray.losses import count_visible
from cephray.training.optimizer import DistributedAdam
from cephray.training.step import StepSums, build_train_step

pytestmark = pytest.mark.usefixtures("full_float32")
K, B = 19, 7


def linear_model() -> keras.Model:
    """Build a network whose films do not see each other, as they do in batch normalisation."""
    keras.utils.set_random_seed(3)
    image = keras.Input((4, 4, 3), name="image")
    points = keras.Input((K, 2), name="first_points", optional=True)
    flat = keras.layers.Flatten()(image)
    outputs = {
        name: keras.layers.Reshape(shape)(keras.layers.Dense(2 * K, name=name)(flat))
        for name, shape in (("coarse", (K, 2)), ("passes", (1, K, 2)))
    }
    return keras.Model({"image": image, "first_points": points}, outputs)


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_parts_of_a_batch_end_in_the_weights_of_the_whole(parts: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(size=(B, 4, 4, 3)).astype(np.float32)
    truth = rng.uniform(size=(B, K, 2)).astype(np.float32)
    truth[1, 3] = truth[4, :] = np.nan
    extent_mm = rng.uniform(100, 200, (B, 2)).astype(np.float32)
    ends = []
    for steps in (1, parts):
        model = linear_model()
        optimizer = DistributedAdam(1e-2)
        optimizer.build(model.trainable_variables)
        step = build_train_step(
            model, optimizer, LossConfig(), tf.distribute.get_strategy(), accumulation_steps=steps
        )
        batch = (image, truth, np.full_like(truth, np.nan), extent_mm, count_visible(truth), 1.0)
        sums = [step(*batch).numpy() for _ in range(3)]
        ends.append((np.stack(sums), [variable.numpy() for variable in model.variables]))
    (whole_sums, whole), (part_sums, part) = ends
    np.testing.assert_allclose(part_sums, whole_sums, rtol=1e-5)
    assert StepSums(*whole_sums[0]).landmarks == (B - 1) * K - 1
    for a, b in zip(part, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
