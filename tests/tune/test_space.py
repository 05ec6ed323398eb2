"""The search space: what a file says, what is drawn from it, what is refused in which words."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from cephray.config import load_config, value_of
from cephray.errors import InputError
from tune.space import (
    DEFAULT,
    Choice,
    Integer,
    Real,
    Space,
    applied,
    describe,
    load_space,
    short_names,
)

SPACE = """
model.roi_pool_size: {integer: [3, 9, 2]}
model.fusion_depth: {integer: [1, 4]}
loss.detection_weight: {log_uniform: [1e-1, 10]}
train.learning_rate: {uniform: [1.0e-5, 1.0e-3]}
model.backbone: {choice: [resnet18, resnet50]}
augment.flip.enabled: {choice: [true, false]}
train.clip_norm: {choice: [null, 1.0]}
model.window_cells: {choice: [[3, 5, 7, 9], [7, 7, 7, 7]]}
"""


def read(text: str, folder: Path, *overrides: str) -> Space:
    file = folder / "space.yaml"
    file.write_text(text)
    return load_space(str(file), load_config(overrides=overrides))


def test_a_file_becomes_dimensions_and_reads_back(tmp_path: Path) -> None:
    space = read(SPACE, tmp_path)
    assert space.dimensions == {
        "model.roi_pool_size": Integer(3, 9, 2),
        "model.fusion_depth": Integer(1, 4),
        "loss.detection_weight": Real(0.1, 10, log=True),
        "train.learning_rate": Real(1e-5, 1e-3),
        "model.backbone": Choice(("resnet18", "resnet50")),
        "augment.flip.enabled": Choice((True, False)),
        "train.clip_norm": Choice((None, 1.0)),
        "model.window_cells": Choice(("[3, 5, 7, 9]", "[7, 7, 7, 7]")),
    }
    assert read(space.dump(), tmp_path) == space


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ("train.clip_norm: {choice: [none, 1.0]}", (None, 1.0)),
        ("model.backbone_weights: {choice: [NULL, imagenet]}", (None, "imagenet")),
        ("model.detection_prior: {choice: [none, mean_shape]}", ("none", "mean_shape")),
    ],
)
def test_none_is_absent_where_a_key_may_be(
    rule: str, values: tuple[object, ...], tmp_path: Path
) -> None:
    [dimension] = read(rule, tmp_path).dimensions.values()
    assert dimension.probes() == values


def test_the_default_space_has_the_three_of_the_mission() -> None:
    dimensions = load_space(DEFAULT, load_config()).dimensions
    assert str(dimensions["model.roi_pool_size"]) == "3, 5, 7, 9"
    assert str(dimensions["model.fusion_depth"]) == "1, 2, 3, 4"
    assert dimensions["loss.detection_weight"] == Real(0.01, 10, log=True)
    assert dimensions["loss.refinement_weight"] == Real(0.01, 10, log=True)


def test_every_draw_is_a_configuration_and_the_baseline_is_the_base(tmp_path: Path) -> None:
    base = load_config()
    space = read(SPACE, tmp_path)
    assert applied(space.baseline(base), base) == base
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn: dict[str, set[object]] = {key: set() for key in space.dimensions}
    for _ in range(60):
        values = space.suggest(study.ask())
        config = applied(values, base)
        for key, value in values.items():
            own = value_of(config, key)
            assert (str(list(own)) if isinstance(own, tuple) else own) == value
            assert space.dimensions[key].contains(value)
            drawn[key].add(value)
    assert drawn["model.roi_pool_size"] == {3, 5, 7, 9}
    assert drawn["model.fusion_depth"] == {1, 2, 3, 4}
    assert drawn["model.backbone"] == {"resnet18", "resnet50"}
    assert drawn["model.window_cells"] == {"[3, 5, 7, 9]", "[7, 7, 7, 7]"}
    weights = sorted(float(str(weight)) for weight in drawn["loss.detection_weight"])
    assert weights[0] < 0.2
    assert weights[-1] > 5
    assert 0.4 < weights[30] < 2.5  # logarithmic: half of them below 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model.roi_pol_size: {integer: [3, 9]}", "did you mean 'roi_pool_size'"),
        ("model: {integer: [3, 9]}", "config key 'model'"),
        ("model.fusion_depth: {integer: [1, 5]}", "less than or equal to 4; got 5"),
        ("model.fusion_depth: {uniform: [1, 4]}", "valid integer"),
        ("model.fusion_depth: {integers: [1, 4]}", "did you mean 'integer'"),
        ("model.fusion_depth: [1, 4]", "must be {rule: \\[values\\]}, the rule one of choice, in"),
        ("model.fusion_depth: {integer: [4, 1]}", "takes \\[lowest, highest\\] or"),
        ("model.fusion_depth: {integer: [1, 4, 2]}", "some steps above the lowest"),
        ("model.fusion_depth: {integer: [1.5, 4]}", "whole numbers"),
        ("model.fusion_depth: {integer: 4}", "takes \\[lowest, highest\\] or"),
        ("model.fusion_depth: {choice: [2]}", "at least two"),
        ("model.fusion_depth: {choice: [3, 3]}", "each once"),
        ("model.fusion_depth: {choice: [3, [4]]}", "'model.fusion_depth': .* got \\[4\\]"),
        ("model.fusion_depth: {choice: [3, {a: 4}]}", "takes a list of at least two numbers"),
        ("model.window_cells: {choice: [[3, 5, 7, 9], [7, 7, 7]]}", "'model.window_cells"),
        ("loss.detection_weight: {log_uniform: [0, 1]}", "numbers above 0"),
        ("loss.detection_weight: {uniform: [0, .inf]}", "the lowest first; got"),
        ("loss.detection_weight: {uniform: [0, often]}", "takes \\[lowest, highest\\], numbers"),
        ("loss.detection_weight: {uniform: [2, 3]}", "own value 1.0 is not among 2 to 3"),
        ("model.roi_pool_size: {integer: [3, 9, 3]}", "own value 5 is not among 3, 6, 9"),
        ("train.clip_norm: {choice: [none, null]}", "at least two"),
        ("train.epochs: {choice: [none, 10]}", "'train.epochs': .* got 'none'"),
        ("data.validation: {choice: [test1, test2]}", "cannot be searched"),
        ("", "is empty"),
        ("[1]", "must map keys to values"),
        ("model.fusion_depth: {", "not valid YAML"),
    ],
)
def test_wrong_spaces(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said) as error:
        read(text, tmp_path)
    assert str(tmp_path / "space.yaml") in str(error.value)
    assert "\n" not in str(error.value)


def test_names_are_short_where_they_tell_apart() -> None:
    keys = ["loss.detection_weight", "augment.flip.enabled", "augment.flip.probability"]
    assert list(short_names(keys).values()) == ["detection_weight", "flip", "probability"]
    both = ["augment.flip.probability", "augment.crop.probability"]
    assert list(short_names(both).values()) == both
    assert describe({"loss.detection_weight": 0.123456, "a.b": None}) == (
        "detection_weight 0.123, b None"
    )
