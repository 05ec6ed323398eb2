"""A training step in mixed bfloat16 passes through the crop and agrees with float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf

from cephray.config import Config
from cephray.model.network import build_network, predict


@pytest.fixture
def restored_policy() -> Iterator[None]:
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


def step(config: Config, policy: str) -> tuple[float, list[np.ndarray], set[str]]:
    """The loss, the gradients, and the types in which the windows were cropped."""
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(3)
    network = build_network(config)
    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(0, 1, (2, 96, 64, 3)).astype(np.float32))
    truth = rng.uniform(0.2, 0.8, (2, 19, 2)).astype(np.float32)

    def run() -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            prediction = predict(network, images)
            loss = tf.add_n(
                [tf.reduce_mean((p - truth) ** 2) for p in (prediction.coarse, prediction.refined)]
            )
        return loss, tape.gradient(loss, network.trainable_variables)

    function = tf.function(run).get_concrete_function()
    kinds = {
        op.get_attr("T").name
        for op in function.graph.get_operations()
        if op.type == "Cephray>RoiCropGradFeatures"
    }
    loss, gradients = function()
    return float(loss), [tf.convert_to_tensor(g).numpy() for g in gradients], kinds


def test_mixed_bfloat16_agrees_with_float32(
    small_config: Callable[..., Config], restored_policy: None
) -> None:
    config = small_config()
    loss, gradients, kinds = step(config, "float32")
    mixed_loss, mixed_gradients, mixed_kinds = step(config, "mixed_bfloat16")
    assert kinds == {"float32"}
    assert mixed_kinds == {"bfloat16"}
    assert mixed_loss == pytest.approx(loss, rel=2e-2)
    flat, mixed = (np.concatenate([g.ravel() for g in gs]) for gs in (gradients, mixed_gradients))
    cosine = np.vdot(flat, mixed) / (np.linalg.norm(flat) * np.linalg.norm(mixed))
    assert cosine > 0.99
    assert np.linalg.norm(mixed) == pytest.approx(np.linalg.norm(flat), rel=5e-2)
