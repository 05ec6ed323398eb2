"""What a step exchanges, read from its graph: against the network's own layers."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

from cephray.benchmark.scaling.profile import profile_step
from cephray.config import Config
from cephray.model import build_network

MakeConfig = Callable[..., Config]


pytestmark = pytest.mark.usefixtures("tiny_backbones")


@pytest.fixture
def config(small_config: MakeConfig) -> Config:
    return small_config("train.global_batch_size=2")


def test_the_passes_share_the_step(config: Config) -> None:
    profile = profile_step(config, step_s=3.0)
    assert profile.computation_s == pytest.approx(3.0)
    assert 0.8 < profile.forward_s < 1.3  # the backward pass counts about twice the forward


def test_all_gradients_travel_the_last_layers_first(config: Config) -> None:
    profile = profile_step(config, step_s=1.0)
    network = build_network(config)
    weights = sum(int(np.prod(v.shape)) for v in network.trainable_variables)
    assert sum(size for _, size in profile.buckets) == 4 * weights
    positions = [position for position, _ in profile.buckets]
    assert positions == sorted(positions)
    # The last bucket has the first convolution, whose gradient is there at the very end.
    assert positions[-1] == pytest.approx(1.0)


def test_gradients_in_half_precision_have_half_the_bytes(small_config: MakeConfig) -> None:
    whole, half = (
        profile_step(
            small_config("train.global_batch_size=2", f"train.exchange_dtype={dtype}"), 1.0
        )
        for dtype in ("float32", "bfloat16")
    )
    assert 2 * sum(size for _, size in half.buckets) == sum(size for _, size in whole.buckets)


def test_each_trained_batch_normalisation_has_its_statistics(small_config: MakeConfig) -> None:
    """Two float32 values a channel, each way."""
    config = small_config("train.global_batch_size=2", "model.fusion_channels=24")
    network = build_network(config)
    channels = [
        layer.gamma.shape[0]
        for layer in network.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    profile = profile_step(config, step_s=1.0)
    assert sorted(size for _, size in profile.statistics) == sorted(8 * c for c in channels)
    positions = [position for position, _ in profile.statistics]
    assert positions == sorted(positions)


def test_statistics_of_each_worker_do_not_travel(small_config: MakeConfig) -> None:
    config = small_config("train.global_batch_size=2", "model.sync_batch_norm=false")
    assert profile_step(config, step_s=1.0).statistics == ()
