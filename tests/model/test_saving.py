"""The network is a Keras model like others: it can be saved, loaded and cloned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from cephray.config import Config
from cephray.model import build_network, predict

pytestmark = pytest.mark.usefixtures("cpu")  # bit by bit
MakeConfig = Callable[..., Config]

# Every custom layer, and every backbone of its kind, is in one of these networks.
NETWORKS = {
    "the paper's": ("model.fusion_depth=3", "model.backbone=vgg16"),
    "every level, uneven sides": (
        "model.fusion_depth=4",
        "model.backbone=resnet50",
        "data.image_width=72",
    ),
    "two passes, windows, spread, heat map": (
        "model.refinement_passes=2",
        "model.offset_unit=window",
        "model.detach_passes=true",
        "model.spread=true",
        "loss.error=laplace",
        "loss.unit=mm",
        "model.heatmap=true",
        "model.detection_heatmap=true",
    ),
    "dense heads with dropout": (
        "model.head=dense",
        "model.head_dropout=0.3",
        "model.detection_channels=6",
        "model.backbone=efficientnet_lite0",
        "model.frozen_levels=2",
        "model.backbone_weights=imagenet",
        "model.differentiable_boxes=true",
    ),
    "mixed precision": ("train.precision=mixed_bfloat16",),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest, small_config: MakeConfig) -> keras.Model:
    config = small_config(*NETWORKS[request.param])
    keras.utils.set_random_seed(1)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.train.policy)
    try:
        network = build_network(config)
    finally:
        keras.config.set_dtype_policy(before)
    rng = np.random.default_rng(2)
    for weight in network.weights:  # statistics and heads too, which begin as zeros and ones
        weight.assign(weight + rng.uniform(0, 0.003, weight.shape))
    return network


def require_same(one: keras.Model, other: keras.Model) -> None:
    assert [v.path for v in one.variables] == [v.path for v in other.variables]
    for mine, theirs in zip(one.variables, other.variables, strict=True):
        if mine.path.endswith("seed_generator_state"):
            theirs.assign(mine)  # Keras does not save the seeds of dropout
    trainable = [v.path for v in one.trainable_variables]
    assert trainable == [v.path for v in other.trainable_variables]
    shape = one.get_layer("image").output.shape[1:]
    image = np.random.default_rng(0).random((2, *shape), np.float32)
    points = np.random.default_rng(1).random((2, 19, 2), np.float32)
    points[0] = np.nan
    for first_points in (None, points):
        for training in (False, True):
            expected = predict(one, image, training=training, first_points=first_points)
            found = predict(other, image, training=training, first_points=first_points)
            for name, value in expected._asdict().items():
                if value is not None:
                    assert np.isfinite(np.asarray(value, np.float64)).all()
                    np.testing.assert_array_equal(value, getattr(found, name), err_msg=name)


def test_it_is_saved_and_loaded(network: keras.Model, tmp_path: Path) -> None:
    network.save(tmp_path / "network.keras")
    require_same(network, keras.models.load_model(tmp_path / "network.keras"))


def test_it_is_cloned(network: keras.Model) -> None:
    clone = keras.models.clone_model(network)
    for mine, theirs in zip(clone.variables, network.variables, strict=True):
        mine.assign(theirs)
    require_same(network, clone)
    mine, theirs = clone.trainable_variables[0], network.trainable_variables[0]
    mine.assign(mine + 1)
    assert not np.array_equal(mine, theirs)  # a clone has variables of its own
