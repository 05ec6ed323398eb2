"""Weights of a checkpoint in networks of other settings and landmark sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from cephray.checkpoint import (
    Checkpoint,
    Progress,
    copy_arrays,
    find_checkpoint,
    open_checkpoint,
    open_initial,
    save_checkpoint,
    transfer_weights,
)
from cephray.checkpoint.transfer import _LANDMARK_AXES
from cephray.config import Config
from cephray.errors import InputError
from cephray.landmarks import landmark_set
from cephray.model import build_network
from cephray.training import plan_run
from tests.training.group import train_epoch

MakeConfig = Callable[..., Config]
Arrays = dict[str, NDArray[Any]]
pytestmark = pytest.mark.usefixtures("tiny_backbones")

ISBI, AARIZ = landmark_set("isbi2015"), landmark_set("aariz")
DENSE = (
    "model.head=dense",
    "model.heatmap=true",
    "model.detection_heatmap=true",
    "model.detection_channels=4",
)


def network(config: Config, seed: int) -> keras.Model:
    """Build a network with other values in each variable, zeros included."""
    keras.utils.clear_session()
    model = build_network(config)
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if "float" in str(variable.dtype):
            variable.assign(rng.normal(size=variable.shape).astype(variable.dtype))
    return model


def values(model: keras.Model) -> Arrays:
    return copy_arrays(model.variables)


def saved(folder: Path, config: Config) -> tuple[Checkpoint, Arrays]:
    model = network(config, seed=1)
    save_checkpoint(folder, config, Progress().advance({"epoch": 1, "score": 1.0}), model)
    return find_checkpoint(folder), values(model)


def test_the_same_network_has_all(small_config: MakeConfig, tmp_path: Path) -> None:
    config = small_config()
    checkpoint, theirs = saved(tmp_path / "run", config)
    model = network(config, seed=2)
    transfer = transfer_weights(checkpoint, model, ISBI)
    assert (transfer.fresh, transfer.unknown) == ((), ())
    assert str(transfer) == f"{len(theirs)} of {len(theirs)} variables"
    for path, value in values(model).items():
        np.testing.assert_array_equal(value, theirs[path], err_msg=path)


@pytest.mark.parametrize("heads", [(), DENSE], ids=["the paper's heads", "dense heads, heat map"])
def test_landmarks_of_the_same_name_are_taken(
    heads: tuple[str, ...], small_config: MakeConfig, tmp_path: Path
) -> None:
    """By name, whatever their order; all other landmarks keep what they had."""
    checkpoint, theirs = saved(tmp_path / "run", small_config(*heads))
    model = network(small_config("data.landmarks=aariz", *heads), seed=2)
    before = values(model)
    transfer = transfer_weights(checkpoint, model, AARIZ)
    after = values(model)
    assert transfer.fresh == ()
    assert set(transfer.unknown) == set(AARIZ.names) - set(ISBI.names)
    with_landmarks = [path for path in after if path in _LANDMARK_AXES]
    assert len(with_landmarks) >= 7
    for path in after.keys() - set(with_landmarks):
        np.testing.assert_array_equal(after[path], theirs[path], err_msg=path)
    for path in with_landmarks:
        axis = _LANDMARK_AXES[path]
        entries = after[path].shape[axis] // len(AARIZ)
        for k, name in enumerate(AARIZ.names):
            for entry in range(entries):
                own = after[path].take(k * entries + entry, axis)
                if name in ISBI.names:
                    j = ISBI.names.index(name)
                    expected = theirs[path].take(j * entries + entry, axis)
                else:
                    expected = before[path].take(k * entries + entry, axis)
                np.testing.assert_array_equal(own, expected, err_msg=f"{path} {name}")


def test_every_variable_with_a_part_for_each_landmark_is_known(small_config: MakeConfig) -> None:
    """By comparing the shapes of two networks that differ in their landmarks alone."""
    found = set()
    for heads in ((), DENSE, ("model.adapted=true", "model.adapted_rank=2")):
        shapes = [
            {path: value.shape for path, value in values(network(config, 0)).items()}
            for config in (small_config(*heads), small_config("data.landmarks=aariz", *heads))
        ]
        found |= {path for path, shape in shapes[0].items() if shapes[1][path] != shape}
    assert found == set(_LANDMARK_AXES)


def test_what_has_another_shape_is_new(small_config: MakeConfig, tmp_path: Path) -> None:
    checkpoint, _ = saved(tmp_path / "run", small_config())
    model = network(small_config("model.roi_pool_size=5", "model.head_channels=6"), seed=2)
    before = values(model)
    transfer = transfer_weights(checkpoint, model, ISBI)
    assert set(transfer.fresh) == {
        "refinement/conv_kernel", "refinement/conv_bias", "refinement/hidden_kernel",
    }  # fmt: skip
    assert "; new are refinement/" in str(transfer)
    after = values(model)
    for path in transfer.fresh:
        np.testing.assert_array_equal(after[path], before[path])


def test_a_run_begins_with_the_weights_of_a_checkpoint(
    small_config: MakeConfig, make_table: Callable[[int], Any], tmp_path: Path
) -> None:
    """With a learning rate of almost nothing it ends with them too."""
    checkpoint, theirs = saved(tmp_path / "run", small_config())
    begins = (f"train.init={checkpoint.folder}", "train.learning_rate=1e-12", "train.epochs=1")
    end = train_epoch(small_config(*begins, "train.average_decay=0.9"), make_table(4))
    for path in ("refinement/output_kernel", "detection/linear/kernel", "detection/prior"):
        np.testing.assert_allclose(end.arrays[path], theirs[path], rtol=0, atol=1e-6)
    fresh = train_epoch(small_config(*begins[1:]), make_table(4))
    assert np.abs(fresh.arrays["detection/prior"] - theirs["detection/prior"]).max() > 0.1


def test_the_checkpoint_is_looked_for_before_anything_starts(
    films: Path, small_config: MakeConfig, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"checkpoint .*nowhere: no such folder"):
        plan_run(films, tmp_path / "out", small_config(f"train.init={tmp_path / 'nowhere'}"))
    assert not (tmp_path / "out").exists()
    checkpoint, _ = saved(tmp_path / "run", small_config())
    plan = plan_run(films, tmp_path / "out", small_config(f"train.init={tmp_path / 'run'}"))
    assert plan.config.train.init == str(checkpoint.folder)
    included = plan_run(films, tmp_path / "out", small_config("train.init=included"))
    assert included.config.train.init == "included"
    assert open_initial("included").config.model.head == "dense"


def test_the_change_of_an_adapted_network_becomes_part_of_its_layers(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    adapted = small_config("model.adapted=true", "model.adapted_rank=2", "model.head=dense")
    theirs = network(adapted, seed=1)
    heads = theirs.get_layer("refinement")
    rng = np.random.default_rng(0)
    for variable in (heads.kernel_change, heads.bias_change, *heads.hidden_change):
        variable.assign(rng.normal(size=variable.shape))
    save_checkpoint(tmp_path / "run", adapted, Progress(), theirs)
    checkpoint = open_checkpoint(tmp_path / "run")
    model = network(small_config("model.head=dense"), seed=2)
    assert not transfer_weights(checkpoint, model, ISBI).fresh
    narrow, wide, bias = heads.hidden_change
    wanted = {
        "output_kernel": heads.output_kernel + heads.kernel_change,
        "output_bias": heads.output_bias + heads.bias_change,
        "hidden_kernel": heads.hidden_kernel + narrow @ wide,
        "hidden_bias": heads.hidden_bias + bias,
    }
    for name, value in wanted.items():
        found = getattr(model.get_layer("refinement"), name)
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5)
    again = network(adapted, seed=2)
    assert not transfer_weights(checkpoint, again, ISBI).fresh
    for found, variable in zip(again.variables, theirs.variables, strict=True):
        if found.path.startswith("refinement/") and "seed" not in found.path:
            np.testing.assert_array_equal(found, variable)
