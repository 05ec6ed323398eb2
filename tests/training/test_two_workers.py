"""Two workers end in the weights of one, to rounding, whatever is set.

In float64, where rounding is far below any fault: two steps of three films, shared out as 2 + 1.
The tolerance is 1e-9, absolute for arrays up to 1, and relative to the largest value of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pytest

from cephray.config import Config, load_config
from cephray.config.presets import preset_files
from cephray.data import FilmTable
from tests.devices import on_cpu
from tests.training.pair import Pair, differences, train_epoch

MakeTable = Callable[[int], FilmTable]

TOLERANCE = 1e-9
FLOAT64 = ("train.precision=float64", "train.exchange_dtype=float64")
SMALLEST = (
    "data.image_height=96",
    "data.image_width=64",
    "data.validation=none",
    "model.fusion_channels=8",
    "model.head_channels=4",
    "model.head_units=8",
    "train.global_batch_size=3",
    "train.epochs=1",
    "train.learning_rate=1e-3",
)
PRESETS = tuple(preset_files())
PRETRAINED = ("model.backbone=efficientnet_lite0", "model.backbone_weights=imagenet")
SPREAD = ("model.spread=true", "loss.error=laplace", "loss.unit=mm")
# Settings that do not touch each other share a case: a difference in any array is seen.
CASES = {
    "the paper's": (),
    "two passes, boxes, heatmap": (
        "model.refinement_passes=2",
        "model.differentiable_boxes=true",
        "model.heatmap=true",
    ),
    "spread, offset_unit window, optimiser": (
        *SPREAD,
        "model.offset_unit=window",
        "train.clip_norm=0.01",  # less than any gradient here
        "train.average_decay=0.9",
        "train.weight_decay=0.1",
        "train.schedule=cosine",
        "train.warmup_epochs=0.5",
    ),
    "all levels frozen": (*PRETRAINED, "model.frozen_levels=4"),
    "all of best's": (
        "model.head=dense",
        "model.offset_unit=window",
        "model.refinement_passes=2",
        "model.detach_passes=true",
        "loss.every_pass=true",
        "model.detection_channels=4",
        "model.detection_prior=mean_shape",
        *SPREAD,
        *PRETRAINED,
        "model.frozen_levels=1",
    ),
}


@pytest.fixture(scope="module")
def pair_of_tiny() -> Iterator[Pair]:
    with closing(Pair(tiny=True)) as pair:
        yield pair


@pytest.fixture
def tiny_pair(pair_of_tiny: Pair, tiny_backbones: None) -> Pair:
    return pair_of_tiny  # the one worker is this process


@pytest.fixture(scope="module")
def real_pair() -> Iterator[Pair]:
    with closing(Pair(tiny=False)) as pair:
        yield pair


def largest_difference(pair: Pair, config: Config, table: FilmTable) -> float:
    """Train by one worker and by two; return how far they end from each other."""
    both = pair.train(config, table)
    with on_cpu():
        one = train_epoch(config, table)
    first, second = both()
    assert max(differences(first, second).values()) == 0  # two workers always end alike
    weights = [array for array in one.arrays.values() if array.dtype.kind == "f"]
    assert {str(array.dtype) for array in weights} <= {"float64", "float32"}
    assert any(np.abs(array).max() > 1e-6 for name, array in one.arrays.items() if "mom" in name)
    assert first.row["loss"] == pytest.approx(one.row["loss"], rel=1e-6)
    return max(differences(one, first).values())


@pytest.mark.parametrize("case", CASES)
def test_two_workers_end_in_the_weights_of_one(
    case: str, tiny_pair: Pair, make_table: MakeTable
) -> None:
    config = load_config(overrides=["model.backbone=resnet18", *SMALLEST, *FLOAT64, *CASES[case]])
    assert largest_difference(tiny_pair, config, make_table(6)) < TOLERANCE


def test_a_difference_in_the_eighth_digit_is_seen(tiny_pair: Pair, make_table: MakeTable) -> None:
    """Gradients that travel in float32 are rounded on the way: a fault of the smallest kind."""
    config = load_config(
        overrides=["model.backbone=resnet18", *SMALLEST, "train.precision=float64"]
    )
    assert largest_difference(tiny_pair, config, make_table(6)) > 10 * TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset(preset: str, real_pair: Pair, make_table: MakeTable) -> None:
    """With the preset's own backbone and fresh weights, none of them frozen.

    The gradient of a bias before a batch normalisation is zero but for rounding, which grows with
    the loss. Adam would make steps of it, so gradients are clipped in all presets.
    """
    fresh = ("model.backbone_weights=null", "model.frozen_levels=0", "train.clip_norm=1")
    config = load_config(preset, [*SMALLEST, *FLOAT64, *fresh])
    assert largest_difference(real_pair, config, make_table(6)) < TOLERANCE
