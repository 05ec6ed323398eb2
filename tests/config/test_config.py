"""Tests configurations from defaults, files and overrides, and the messages of invalid ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, TypeAdapter

from cephray.config import Config, Section, dump_config, load_config, plain_value, value_of
from cephray.config.absent import with_absent
from cephray.config.presets import preset_files
from cephray.errors import InputError

# A value for each key that may be None, with the other settings that the value needs.
SPREAD = {"model.spread": True, "loss.error": "laplace", "loss.unit": "mm"}
PRESENT: dict[str, dict[str, Any]] = {
    "data.ruler_mm": {"data.ruler_mm": 10.0},
    "data.spacing_mm": {"data.spacing_mm": 0.1},
    "model.backbone_weights": {"model.backbone_weights": "imagenet"},
    "model.crop_depth": {"model.crop_depth": 2},
    "model.detection_channels": {"model.detection_channels": 8},
    "loss.landmark_weights": {"loss.landmark_weights": [1.0] * 19},
    "train.clip_norm": {"train.clip_norm": 1.0},
    "train.average_decay": {"train.average_decay": 0.9},
    "train.early_stop_patience": {"train.early_stop_patience": 3},
    "train.cpus_per_worker": {"train.cpus_per_worker": 1},
    "train.min_workers": {"train.min_workers": 1},
    "train.reference_batch_size": {"train.reference_batch_size": 4},
    "train.init": {"train.init": "included"},
    "train.tracking": {"train.tracking": "mlflow"},
    "inference.confidence": {"inference.confidence": [0.5, -1.0], **SPREAD},
    "inference.radius_factor": {"inference.radius_factor": 2.5, **SPREAD},
}
WORDS = ("none", "None", "NONE", "nOnE", "null", "Null", "NULL", "nULL", "'none'", "~", "")


def optional_keys(section: type[BaseModel] = Config, before: str = "") -> list[str]:
    keys = []
    for name, field in section.model_fields.items():
        annotation: Any = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            keys += optional_keys(annotation, f"{before}{name}.")
        elif TypeAdapter(annotation).core_schema["type"] == "nullable":
            keys.append(f"{before}{name}")
    return keys


def test_overrides_replace_values_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("model: {fusion_depth: 2, roi_pool_size: 7}\ntrain: {epochs: 3}\n")
    config = load_config(file, ["model.fusion_depth=4", "augment.flip.enabled=true"])
    assert config.model.fusion_depth == 4
    assert config.model.roi_pool_size == 7
    assert config.augment.flip.enabled
    assert config.train.epochs == 3
    assert config.data == Config().data


def test_a_dumped_configuration_can_be_loaded(tmp_path: Path) -> None:
    config = load_config(overrides=["augment.crop.max_margin=0.25", "data.reader=senior"])
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    assert load_config(file) == config


@pytest.mark.parametrize("preset", preset_files())
def test_presets_are_valid(preset: str) -> None:
    assert load_config(preset) != Config()


def test_every_optional_key_has_a_case() -> None:
    assert sorted(PRESENT) == sorted(optional_keys())


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("key", PRESENT)
def test_none_and_null_mean_none(key: str, word: str, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    needed = [f"{name}={json.dumps(value)}" for name, value in PRESENT[key].items()]
    present = load_config(overrides=needed)
    assert value_of(present, key) is not None
    file.write_text(dump_config(present))
    assert value_of(load_config(file, [f"{key}={word}"]), key) is None

    section, name = key.split(".")
    file.write_text(f"{section}: {{{name}: {word}}}")
    assert load_config(file) == Config()


class Words(Section):
    """A section with all kinds of keys that `none` or `null` might be a value of."""

    listed: Literal["none", "some"] | None = "some"
    listed_null: Literal["NULL"] | int | None = 1
    text: str | None = "x"
    needed: Literal["none", "some"] = "some"
    number: int = 1
    many: tuple[Literal["none", "some"], ...] | None = None
    literal: Literal["some", None] = "some"


@pytest.mark.parametrize(
    ("key", "given", "read"),
    [
        ("listed", "none", "none"),  # its own value
        ("listed", None, None),
        ("listed_null", "null", "null"),
        ("needed", "none", "none"),
        ("needed", "null", "null"),
        ("number", "none", "none"),  # invalid, refused later by pydantic
        ("text", "none", None),
        ("text", "nonesuch", "nonesuch"),
        ("many", "none", None),
        ("many", ["none"], ["none"]),
        ("literal", "Null", None),
        ("unknown", "none", "none"),
    ],
)
def test_words_that_are_values_of_a_key_are_kept(key: str, given: Any, read: Any) -> None:
    assert with_absent(Words, {key: given}) == {key: read}


@pytest.mark.parametrize(
    ("key", "given", "read"),
    [
        ("train.clip_norm", "none", None),
        ("data.validation", "none", "none"),
        ("model.detection_prior", "none", "none"),
        ("train", "none", "none"),
        ("train.clip_norm.deeper", "none", "none"),
        ("nothing.here", "null", "null"),
    ],
)
def test_plain_values_of_dotted_keys(key: str, given: str, read: str | None) -> None:
    assert plain_value(key, given) == read


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.fusion_dept=2",
            r"unknown config key 'model.fusion_dept' \(did you mean 'fusion_d",
        ),
        ("modle.fusion_depth=2", "valid keys there: data, augment, model, loss, train"),
        ("model.backbone=vgg", "'model.backbone': .*'vgg16', 'vgg19', .* got 'vgg'"),
        ("model.fusion_depth=5", "'model.fusion_depth': .*less than or equal to 4; got 5"),
        ("train.learning_rate=.nan", "'train.learning_rate': .*; got nan"),
        ("train.epochs", "override must be section.key=value; got 'train.epochs'"),
        ("train.epochs=[1", "not valid YAML"),
        ("augment.crop.min_margin=0.5", r"min_margin must not exceed max_margin; got 0.5 > 0.08"),
        ("loss.landmark_weights=[1, 2]", "must have 19 entries, one for each landmark; got 2"),
        ("data.landmarks=afhq", "unknown landmark set 'afhq'; give aariz, isbi2015, or the path"),
        ("train.epochs=none", "'train.epochs': .*valid integer.*; got 'none'"),
        ("data.validation=null", "'data.validation': .* 'test2' or 'none'; got None"),
        ("model=none", "'model': .*; got 'none'"),
        ("train.learning_rate_scaling=linear", "linear needs reference_batch_size, the batch"),
    ],
)
def test_invalid_overrides_are_refused(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_config(overrides=[override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[1, 2]", "train: [", "\xff"])
def test_invalid_files_are_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=f"config file {file}"):
        load_config(file)
    with pytest.raises(InputError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")
