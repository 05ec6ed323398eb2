"""Checkpoints: what is saved comes back; what is not complete is never loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from cephray.checkpoint.store import (
    Progress,
    checkpoints_in,
    find_checkpoint,
    open_checkpoint,
)
from cephray.checkpoint.writing import save_checkpoint
from cephray.config import Config
from cephray.errors import InputError
from cephray.model import build_network
from cephray.plausibility import ShapeStatistics

MakeConfig = Callable[..., Config]
FILES = (
    "weights.safetensors",
    "optimizer.safetensors",
    "config.yaml",
    "progress.json",
    "shapes.json",
)


SHAPES = ShapeStatistics(3, ((0.5, -1.0), (-0.5, 1.0)), 0.1, (-5.0, 6.0), (0.1, 0.2), (30.0, 50.0))


@pytest.fixture(scope="module")
def saved(
    tmp_path_factory: pytest.TempPathFactory, small_config: MakeConfig
) -> tuple[Path, keras.Model, keras.optimizers.Optimizer]:
    folder = tmp_path_factory.mktemp("run") / "epoch-0001"
    model = build_network(small_config())
    optimizer = keras.optimizers.Adam(name="adam")
    optimizer.build(model.trainable_variables)
    optimizer.iterations.assign(7)
    progress = Progress(data_fingerprint="films").advance({"epoch": 1, "score": 3.5})
    save_checkpoint(folder, small_config(), progress, model, optimizer, SHAPES)
    return folder, model, optimizer


@pytest.fixture
def copy(saved: tuple[Path, keras.Model, keras.optimizers.Optimizer], tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved[0], tmp_path / "run/epoch-0001"))


def test_everything_comes_back(
    saved: tuple[Path, keras.Model, keras.optimizers.Optimizer], small_config: MakeConfig
) -> None:
    folder, model, optimizer = saved
    checkpoint = open_checkpoint(folder)
    assert checkpoint.config == small_config()
    assert checkpoint.progress == Progress(1, "films", [{"epoch": 1, "score": 3.5}])
    fresh = build_network(checkpoint.config)
    other = keras.optimizers.Adam(name="adam")
    other.build(fresh.trainable_variables)
    checkpoint.load_weights(fresh)
    checkpoint.load_optimizer(other)
    for one, two in zip(
        [*model.variables, *optimizer.variables], [*fresh.variables, *other.variables], strict=True
    ):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


def test_whoever_may_read_the_settings_may_read_the_weights(copy: Path) -> None:
    modes = {path.name: path.stat().st_mode for path in copy.iterdir()}
    assert len(set(modes.values())) == 1, modes


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_a_file_cut_short_is_never_loaded(name: str, kept: float, copy: Path) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match=rf"not complete: {name}"):
        open_checkpoint(copy)
    assert checkpoints_in(copy.parent) == []


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_missing_file(name: str, copy: Path) -> None:
    (copy / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        open_checkpoint(copy)


def test_a_changed_byte(copy: Path) -> None:
    content = bytearray((copy / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "weights.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"weights\.safetensors was changed"):
        find_checkpoint(copy)


@pytest.mark.parametrize("name", ["../weights.safetensors", "/etc/hostname", "a/b", ".."])
def test_a_manifest_that_names_a_file_elsewhere(name: str, copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest[name] = manifest["weights.safetensors"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="which is no file of this folder"):
        open_checkpoint(copy)


def test_another_shape_is_named(copy: Path, small_config: MakeConfig) -> None:
    wider = build_network(small_config("model.head_units=9"))
    with pytest.raises(InputError, match=r"'refinement/\w+' has shape \[.*8.*\]; the model needs"):
        open_checkpoint(copy).load_weights(wider)
    deeper = build_network(small_config("model.fusion_depth=4"))
    with pytest.raises(InputError, match=r"variable '.*' is missing there"):
        open_checkpoint(copy).load_weights(deeper)


def test_the_best_of_a_run_is_found(copy: Path) -> None:
    for epoch, score in ((2, 1.5), (3, 2.5)):
        folder = Path(shutil.copytree(copy, copy.parent / f"epoch-{epoch:04d}"))
        progress = {"epoch": epoch, "data_fingerprint": "", "history": [{"score": score}]}
        (folder / "progress.json").write_text(json.dumps(progress))
        _renew_manifest(folder)
    assert find_checkpoint(copy.parent).progress.epoch == 2
    assert [c.progress.epoch for c in checkpoints_in(copy.parent)] == [1, 2, 3]


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_checkpoint(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"neither a checkpoint .* nor the output folder"):
        find_checkpoint(tmp_path)


def _renew_manifest(folder: Path) -> None:
    import hashlib

    path = folder / "progress.json"
    manifest = json.loads((folder / "manifest.json").read_text())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest[path.name] = {"bytes": path.stat().st_size, "sha256": digest}
    (folder / "manifest.json").write_text(json.dumps(manifest))
