"""The prediction benchmark: what is compared is the same network, K + 1 backbones against one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from cephray.benchmark import predict as benchmark
from cephray.benchmark import predict_subjects
from cephray.benchmark.predict import BEST, PAPER, Case, measure_network, network_summary
from cephray.benchmark.predict_folder import DRAWING, NETWORK, READING, WRITING
from cephray.benchmark.predict_subjects import (
    BACKBONE,
    HEAD_BY_HEAD,
    build_drawn_network,
    build_forwards,
    check,
)
from cephray.benchmark.timing import OURS
from cephray.cli.__main__ import main
from cephray.config import load_config
from cephray.data import FloatArray, View, write_dataset
from cephray.errors import InputError, RunError
from cephray.model import backbones
from tests.conftest import SMALL

pytestmark = pytest.mark.usefixtures("tiny_backbones")
K = 19
SMALL_CASES = {
    "convolution": Case("convolution", SMALL),
    "dense": Case(
        "dense",
        (
            *SMALL,
            "model.fusion_depth=4",
            "model.crop_depth=3",
            "model.head=dense",
            "model.refinement_passes=3",
            "model.offset_unit=window",
            "model.detection_channels=4",
            "model.detection_heatmap=true",
        ),
    ),
    "spread": Case("spread", (*SMALL, "model.spread=true", "loss.error=laplace", "loss.unit=mm")),
}
# Settings of a model that cost nothing in prediction.
FREE = {"head_dropout", "detach_passes", "detection_prior", "detection_scale"}
FREE |= {"batch_norm_momentum", "sync_batch_norm", "frozen_levels"}


def images(case: Case, films: int = 4) -> FloatArray:
    size = (case.config.data.image_height, case.config.data.image_width)
    return np.random.default_rng(1).uniform(size=(films, *size, 3)).astype(np.float32)


@pytest.mark.parametrize("name", SMALL_CASES)
def test_head_by_head_finds_our_landmarks(name: str) -> None:
    case = SMALL_CASES[name]
    batch = images(case)
    network = build_drawn_network(case.config, batch)
    forwards = build_forwards(network)
    check(forwards, batch)
    found = {subject: forward(batch).numpy() for subject, forward in forwards.items()}
    np.testing.assert_allclose(found[HEAD_BY_HEAD], found[OURS], rtol=0, atol=1e-5)
    assert found[BACKBONE].shape == (4, 3, 2, 12)
    # What is compared says something: points on the film, which differ by head and by film.
    assert (found[OURS] > 0).all()
    assert (found[OURS] < 1).all()
    offsets = found[OURS] - network.get_layer("detection").prior.numpy()
    assert np.std(offsets, axis=0).min() > 1e-4
    assert np.std(offsets, axis=1).min() > 1e-4


def test_heads_that_are_mixed_up_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = predict_subjects._weights
    monkeypatch.setattr(
        predict_subjects, "_weights", lambda heads, head, k: right(heads, head, max(k, 1))
    )
    with pytest.raises(RunError, match=r"landmarks up to 0\.\d+ of the film .* nothing was timed"):
        measure_network(SMALL_CASES["convolution"], None, seconds=0)


def test_head_by_head_runs_the_backbone_for_each_head(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []

    def count(x: Any) -> Any:
        runs.append(1)
        return x

    # Without state and under one name, counters of the same features may be merged into one.
    with tf.Graph().as_default() as graph:
        counter = tf.numpy_function(count, [tf.zeros(())], tf.float32, stateful=False)
    name = counter.op.get_attr("token")

    def counted(x: Any) -> Any:
        (same,) = tf.raw_ops.PyFuncStateless(input=[x], token=name, Tout=[tf.float32])
        return tf.ensure_shape(same, x.shape)

    build = backbones.BACKBONES["resnet18"]

    def build_counted(image: Any, weights: Any) -> list[Any]:
        *finer, last = build(image, weights)
        return [*finer, keras.layers.Lambda(counted, output_shape=last.shape[1:])(last)]

    monkeypatch.setitem(backbones.BACKBONES, "resnet18", build_counted)
    case = SMALL_CASES["convolution"]
    batch = images(case)
    network = build_drawn_network(case.config, batch)
    forwards = build_forwards(network)
    for subject, wanted in ((OURS, 1), (HEAD_BY_HEAD, K + 1), (BACKBONE, 1)):
        runs.clear()
        forwards[subject](batch).numpy()
        assert len(runs) == wanted, subject

    # The count would tell: within one function two counters of the same features are one.
    features = forwards[BACKBONE](batch)
    runs.clear()
    tf.function(lambda x: 2.0 * counted(x) + 3.0 * counted(x))(features).numpy()
    assert len(runs) == 1
    del graph  # which held the counter


@pytest.mark.parametrize("case", [PAPER, BEST], ids=["paper", "best"])
def test_cases_are_the_presets_networks(case: Case) -> None:
    preset, ours = load_config(case.name), case.config
    assert ours.model.model_dump(exclude=FREE) == preset.model.model_dump(exclude=FREE)
    if case is BEST:  # the paper's films are smaller than its own
        assert View.of(ours.data) == View.of(preset.data)


def test_a_run_leaves_tables_and_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "CASES", (SMALL_CASES["convolution"],))
    monkeypatch.setattr(benchmark, "FOLDER_CASE", SMALL_CASES["dense"])
    monkeypatch.setattr(benchmark, "SECONDS", 0.01)
    write_dataset(tmp_path / "films", 3, size_px=(96, 120))
    shown: list[str] = []
    rows = benchmark.run(tmp_path / "films", tmp_path / "rows.json", show=shown.append)
    network, folder = rows[:3], rows[3:]
    assert [row.subject for row in network] == [OURS, HEAD_BY_HEAD, BACKBONE]
    assert [row.subject for row in folder] == [OURS, READING, NETWORK, DRAWING, WRITING]
    assert all(row.median_s > 0 and row.direction == "film" for row in rows)
    content = json.loads((tmp_path / "rows.json").read_text())
    assert [row["case"]["measured"] for row in content["rows"]] == ["network"] * 3 + ["folder"] * 5
    assert content["rows"][0]["case"]["batch"] == 4
    assert content["rows"][3]["case"]["films"] == 3
    text = "\n".join(shown)
    assert "resnet18 at 96 × 64: " in text
    assert network_summary(network) in text
    assert "3 films from files to files: " in text


def test_other_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "predict", "--full"]) == 2
    assert "takes no --full; it takes --json, --data" in capsys.readouterr().err


def test_a_film_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no film")
    with pytest.raises(InputError, match=r"broken\.png is not a readable image"):
        benchmark.run(tmp_path, show=lambda block: None)
    with pytest.raises(InputError, match="there is no such film or folder"):
        benchmark.run(tmp_path / "elsewhere", show=lambda block: None)
