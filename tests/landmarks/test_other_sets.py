"""Networks of other landmark sets: drawn films in, trained, evaluated, predicted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

import cephray
from cephray.checkpoint import Progress, save_checkpoint
from cephray.config import Config
from cephray.data import View, decode_on_cluster, read_dataset, write_dataset
from cephray.data.synthetic.anatomy import LANDMARKS_MM
from cephray.landmarks import landmark_set
from cephray.model import build_network
from tests.training.group import train_epoch

MakeConfig = Callable[..., Config]
SIZE_PX = (240, 300)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a set of three landmarks, one of which no reader marks."""
    path = tmp_path_factory.mktemp("sets") / "own.yaml"
    landmarks = [
        {"name": "Condylion", "abbreviation": "Co"},
        {"name": "Pronasale", "abbreviation": "Pn"},
        {"name": "Sella", "abbreviation": "S"},
    ]
    path.write_text(yaml.safe_dump({"name": "own", "landmarks": landmarks}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a set of the 38 landmarks that the drawn head has."""
    path = tmp_path_factory.mktemp("sets") / "large.yaml"
    landmarks = [{"name": f"Point {short}", "abbreviation": short} for short in LANDMARKS_MM]
    assert len(landmarks) == 38
    path.write_text(yaml.safe_dump({"name": "large", "landmarks": landmarks}), encoding="utf-8")
    return path


@pytest.mark.parametrize("which", ["aariz", "large", "own"])
@pytest.mark.usefixtures("cluster", "tiny_backbones")
def test_a_network_of_another_set_trains_evaluates_and_predicts(
    which: str, own: Path, large: Path, small_config: MakeConfig, tmp_path: Path
) -> None:
    given = {"own": str(own), "large": str(large)}.get(which, which)
    landmarks = landmark_set(given)
    write_dataset(tmp_path / "films", 6, size_px=SIZE_PX, landmarks=landmarks)
    if which == "own":
        for path in (tmp_path / "films").rglob("*.txt"):
            lines = path.read_text().splitlines()
            path.write_text("\n".join([lines[0], "nan,nan", *lines[2:]]) + "\n")
    config = small_config(f"data.landmarks={given}", "train.epochs=1")

    records = read_dataset(tmp_path / "films", "train", config.data)
    end = train_epoch(config, decode_on_cluster(records, View.of(config.data)))
    assert np.isfinite(end.row["loss"])

    model = build_network(config)
    for variable in model.variables:
        variable.assign(end.arrays[variable.path])
    save_checkpoint(tmp_path / "run", config, Progress().advance(end.row), model)
    if which == "own":
        own.unlink()  # the checkpoint has the set
    evaluation = cephray.evaluate(tmp_path / "run", data=tmp_path / "films", split="test1")
    rows = evaluation.to_json()["landmarks"]
    assert [row["name"] for row in rows] == list(landmarks.names)
    found = cephray.load(tmp_path / "run").predict(next((tmp_path / "films").rglob("*.png")))
    assert found.names == landmarks.names
    assert found.points_px.shape == (len(landmarks), 2)
    assert json.loads(json.dumps(found.to_dict()))["landmarks"]
