"""Several workers end in the weights of one, to rounding, whatever is set.

In float64, where rounding is far below any fault: two steps of three films, shared out as 2 + 1 or
1 + 1 + 1, or steps of two films, of which the third worker has none.
The tolerance is 1e-9, absolute for arrays up to 1, and relative to the largest value of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from cephray.config import Config, load_config
from cephray.config.presets import preset_files
from cephray.data import FilmTable
from tests.devices import on_cpu
from tests.training.group import Group, differences, train_epoch

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
        "model.detection_heatmap=true",
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


Groups = Callable[[int], Group]


@pytest.fixture(scope="module")
def groups_of_tiny() -> Iterator[Groups]:
    yield from groups(tiny=True)


@pytest.fixture
def tiny_groups(groups_of_tiny: Groups, tiny_backbones: None) -> Groups:
    return groups_of_tiny  # the one worker is this process


@pytest.fixture(scope="module")
def real_groups() -> Iterator[Groups]:
    yield from groups(tiny=False)


def groups(tiny: bool) -> Iterator[Groups]:
    """Return groups by their number of processes, each started when it is first asked for."""
    with ExitStack() as stack:
        yield cache(lambda count: stack.enter_context(closing(Group(count, tiny))))


def largest_difference(group: Group, config: Config, table: FilmTable) -> float:
    """Train by one worker and by several; return how far they end from each other."""
    several = group.train(config, table)
    with on_cpu():
        one = train_epoch(config, table)
    first, *others = several()
    for other in others:
        assert max(differences(first, other).values()) == 0  # workers always end alike
    weights = [array for array in one.arrays.values() if array.dtype.kind == "f"]
    assert {str(array.dtype) for array in weights} <= {"float64", "float32"}
    assert any(np.abs(array).max() > 1e-6 for name, array in one.arrays.items() if "mom" in name)
    assert 0 < first.row["exchange_percent"] < 100
    assert one.row["exchange_percent"] == 0
    assert first.row["loss"] == pytest.approx(one.row["loss"], rel=1e-6)
    return max(differences(one, first).values())


def tiny_config(*overrides: str) -> Config:
    return load_config(overrides=["model.backbone=resnet18", *SMALLEST, *overrides])


@pytest.mark.parametrize("case", CASES)
def test_two_workers_end_in_the_weights_of_one(
    case: str, tiny_groups: Groups, make_table: MakeTable
) -> None:
    config = tiny_config(*FLOAT64, *CASES[case])
    assert largest_difference(tiny_groups(2), config, make_table(6)) < TOLERANCE


@pytest.mark.parametrize("films", [5, 6])
def test_three_workers_where_some_have_no_film(
    films: int, tiny_groups: Groups, make_table: MakeTable
) -> None:
    """Five films are batches of 3 and 2: the third worker has none in the second."""
    config = tiny_config(*FLOAT64, *CASES["all of best's"])
    assert largest_difference(tiny_groups(3), config, make_table(films)) < TOLERANCE


def test_shares_in_parts(tiny_groups: Groups, make_table: MakeTable) -> None:
    """Four times the same film, for a part's statistics depend on which films it has."""
    one = make_table(1)
    table = replace(
        one,
        films=("1", "2", "3", "4"),
        images=list(one.images) * 4,
        digests=one.digests * 4,
        landmarks_norm=np.repeat(one.landmarks_norm, 4, axis=0),
        frame_px=np.repeat(one.frame_px, 4, axis=0),
        spacing_mm=np.repeat(one.spacing_mm, 4, axis=0),
    )
    parts = ("train.global_batch_size=4", "train.accumulation_steps=2")
    config = tiny_config(*FLOAT64, *parts, "train.clip_norm=1")
    assert largest_difference(tiny_groups(2), config, table) < TOLERANCE


def test_workers_without_a_film_in_float32(tiny_groups: Groups, make_table: MakeTable) -> None:
    """TensorFlow's kernels normalise there, and another gradient is written for them.

    Rounding makes a difference of 5e-5. If the films without weight had a gradient, it would be
    7e-3 or more.
    """
    config = tiny_config("train.clip_norm=1")
    assert largest_difference(tiny_groups(3), config, make_table(5)) < 5e-4


def test_a_difference_in_the_eighth_digit_is_seen(
    tiny_groups: Groups, make_table: MakeTable
) -> None:
    """Gradients that travel in float32 are rounded on the way: a fault of the smallest kind."""
    config = tiny_config("train.precision=float64")
    assert largest_difference(tiny_groups(2), config, make_table(6)) > 10 * TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset(
    preset: str, workers: int, real_groups: Groups, make_table: MakeTable
) -> None:
    """With the preset's own backbone and fresh weights, none of them frozen.

    The gradient of a bias before a batch normalisation is zero but for rounding, which grows with
    the loss. Adam would make steps of it, so gradients are clipped in all presets.
    """
    fresh = ("model.backbone_weights=null", "model.frozen_levels=0", "train.clip_norm=1")
    config = load_config(preset, [*SMALLEST, *FLOAT64, *fresh])
    films = 5 if workers == 3 else 6  # the third worker has none in the second step
    assert largest_difference(real_groups(workers), config, make_table(films)) < TOLERANCE
