"""Compact checkpoints: half the bytes, nearly the same landmarks, refused where they would lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cephray.checkpoint.compact import write_compact
from cephray.checkpoint.shipped import shipped_checkpoint
from cephray.checkpoint.store import (
    OPTIMIZER,
    WEIGHTS_FILE,
    Checkpoint,
    Progress,
    open_checkpoint,
)
from cephray.checkpoint.writing import save_checkpoint
from cephray.config import Config, DataConfig, with_inference
from cephray.data import decode, read_dataset, write_dataset
from cephray.errors import InputError
from cephray.model import build_network
from cephray.prediction import Detector


@pytest.fixture
def checkpoint(small_config: Callable[..., Config], tmp_path: Path) -> Checkpoint:
    config = small_config(
        "model.detection_scale=1.0", "model.head=dense", "model.head_dropout=0.2"
    )
    save_checkpoint(tmp_path / "whole", config, Progress(3), build_network(config))
    return open_checkpoint(tmp_path / "whole")


def test_half_the_bytes_find_the_same(checkpoint: Checkpoint, tmp_path: Path) -> None:
    write_compact(checkpoint, tmp_path / "half")
    half = open_checkpoint(tmp_path / "half")
    assert half.progress == checkpoint.progress
    assert half.config == checkpoint.config
    assert not (tmp_path / "half" / OPTIMIZER).exists()
    sizes = [(tmp_path / name / WEIGHTS_FILE).stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.55 * sizes[1]
    write_dataset(tmp_path / "films", 4, size_px=(192, 240))
    records = read_dataset(tmp_path / "films", "all", DataConfig())
    found = []
    for one in (checkpoint, half):
        detector = Detector(one)
        found.append([d.refined_px for d in detector.detect(decode(records, detector.view))])
    whole_px, half_px = np.array(found)
    assert (whole_px != half_px).any()
    # An untrained network throws its points far beyond the film.
    assert np.abs(half_px - whole_px).max() < 0.005 * np.abs(whole_px).max()


def test_statistics_of_the_training_films_are_added(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    assert checkpoint.shapes is None
    write_dataset(tmp_path / "films", 8, size_px=(192, 240))
    write_compact(checkpoint, tmp_path / "half", tmp_path / "films")
    half = open_checkpoint(tmp_path / "half")
    assert half.shapes is not None
    assert half.shapes.films == 4  # of Training; the configuration holds none out
    assert 0.1 < half.shapes.size_of_film[0] <= half.shapes.size_of_film[1] < 0.3
    write_compact(half, tmp_path / "again")
    assert open_checkpoint(tmp_path / "again").shapes == half.shapes
    assert half.config == checkpoint.config


def test_a_weight_beyond_half_precision(checkpoint: Checkpoint, tmp_path: Path) -> None:
    network = build_network(checkpoint.config)
    network.get_layer("detection").prior.assign(np.full((19, 2), 1e5))
    save_checkpoint(tmp_path / "large", checkpoint.config, Progress(), network)
    with pytest.raises(InputError, match=r"prior' reaches 100000, which half precision cannot"):
        write_compact(open_checkpoint(tmp_path / "large"), tmp_path / "half")


def test_a_folder_that_holds_something(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not an empty folder"):
        write_compact(checkpoint, tmp_path / "whole")


def test_only_its_use_can_be_changed(checkpoint: Checkpoint) -> None:
    config = with_inference(checkpoint.config, ["inference.looks=1"])
    assert config == checkpoint.config
    with pytest.raises(InputError, match=r"--set model.head: a trained network cannot change it"):
        with_inference(checkpoint.config, ["model.head=dense"])
    with pytest.raises(InputError, match=r"unknown config key 'inference.look'"):
        with_inference(checkpoint.config, ["inference.look=2"])


def test_an_installation_without_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint came with this installation"):
        shipped_checkpoint(tmp_path)
