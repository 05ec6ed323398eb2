"""Configuration: defaults, files, overrides, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from cephray.config import Config, dump_config, load_config
from cephray.errors import InputError
from cephray.presets import presets


def test_overrides_come_after_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("model: {fusion_depth: 2, roi_pool_size: 7}\ntrain: {epochs: 3}\n")
    config = load_config(file, ["model.fusion_depth=4", "augment.flip.enabled=true"])
    assert config.model.fusion_depth == 4
    assert config.model.roi_pool_size == 7
    assert config.augment.flip.enabled
    assert config.train.epochs == 3
    assert config.data == Config().data


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    config = load_config(overrides=["augment.crop.max_margin=0.25", "data.reader=senior"])
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    assert load_config(file) == config


@pytest.mark.parametrize("preset", presets())
def test_presets_are_valid(preset: str) -> None:
    assert load_config(preset) != Config()


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
        ("loss.landmark_weights=[1, 2]", "landmark_weights must have 19 entries; got 2"),
        ("data.landmarks=afhq", "data.landmarks must be one of isbi2015; got afhq"),
    ],
)
def test_wrong_overrides(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_config(overrides=[override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[1, 2]", "train: [", "\xff"])
def test_wrong_files(text: str, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=f"config file {file}"):
        load_config(file)
    with pytest.raises(InputError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")
