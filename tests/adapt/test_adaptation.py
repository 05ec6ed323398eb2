"""Adaptation end to end: the new checkpoint marks as the films are marked, and as before."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cephray.adapt import (
    STAGES,
    adapt,
    adaptation_json,
    figures_of,
    format_adaptation,
    write_adapted,
)
from cephray.adapt.choose import CANDIDATES, UNCHANGED, Trials
from cephray.adapt.frozen import FrozenNetwork
from cephray.checkpoint import (
    Checkpoint,
    Progress,
    open_checkpoint,
    open_checkpoints,
    save_checkpoint,
)
from cephray.cli.__main__ import main
from cephray.config import Config, load_config, with_inference
from cephray.data import Record, View, decode, read_dataset, read_pixels, write_dataset
from cephray.errors import InputError
from cephray.landmarks import ISBI2015
from cephray.model import build_network
from cephray.prediction import Detector
from tests.tiny import use_tiny_backbones

DENSE = (
    "data.image_height=96",
    "data.image_width=64",
    "model.backbone=resnet18",
    "model.fusion_channels=8",
    "model.roi_pool_size=3",
    "model.head=dense",
    "model.head_channels=4",
    "model.head_units=8",
    "model.refinement_passes=1",
    "model.offset_unit=window",
    "model.spread=true",
    "loss.error=laplace",
    "loss.unit=mm",
    "loss.every_pass=true",
    "model.detection_prior=mean_shape",
    "inference.confidence=[0.5,1.5]",
)
PAPER = (*DENSE[:5], "model.head_channels=4", "model.head_units=8", "model.offset_unit=window")
pytestmark = pytest.mark.usefixtures("tiny")
SHIFT_MM = np.array([4.0, -3.0])
MOVED = (3, 9, 14)


@pytest.fixture(scope="module")
def tiny() -> Iterator[None]:
    """Give the networks that this process builds the tiny backbone."""
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_backbones(patch)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "data"
    write_dataset(path, 9, size_px=(192, 240))
    return path


@pytest.fixture(scope="module")
def records(folder: Path) -> list[Record]:
    return read_dataset(folder, "all", load_config().data)


def marked(
    checkpoint: Checkpoint, records: Sequence[Record], shift_mm: np.ndarray | float = SHIFT_MM
) -> list[Record]:
    """Mark what the network finds, give or take 0.3 mm, and three landmarks elsewhere."""
    rng = np.random.default_rng(1)
    marked = []
    for record, points in zip(records, landmarks_of(checkpoint, records), strict=True):
        marks = points + rng.normal(0, 0.3 / record.spacing_mm, points.shape)
        marks[list(MOVED)] += shift_mm / record.spacing_mm
        marked.append(replace(record, landmarks_px=marks))
    return marked


def make(path: Path, overrides: tuple[str, ...], records: Sequence[Record]) -> Checkpoint:
    """Save a network that knows the mean shape, and has heads of random weights."""
    import keras

    keras.utils.set_random_seed(0)
    config: Config = load_config(overrides=[*overrides, "model.detection_scale=0.0001"])
    model = build_network(config, pretrained=False)
    films = list(decode(records, View.of(config.data)))
    prior = np.mean([film.landmarks_norm for film in films], axis=0)
    model.get_layer("detection").prior.assign(prior)
    heads = model.get_layer("refinement")
    heads.output_kernel.assign(
        0.01 * np.random.default_rng(0).normal(size=heads.output_kernel.shape)
    )
    save_checkpoint(path, config, Progress(), model)
    return open_checkpoint(path)


@pytest.fixture(scope="module", params=[DENSE, PAPER], ids=["dense", "paper"])
def checkpoint(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    records: list[Record],
    tiny: None,
) -> Checkpoint:
    return make(tmp_path_factory.mktemp("checkpoint"), request.param, records)


def landmarks_of(checkpoint: Checkpoint, records: Sequence[Record]) -> np.ndarray:
    films = list(decode(records, View.of(checkpoint.config.data)))
    return np.stack([one.refined_px for one in Detector(checkpoint).detect(films)])


def original(checkpoint: Checkpoint) -> Checkpoint:
    config = with_inference(checkpoint.config, ["inference.convention=original"])
    return replace(checkpoint, config=config)


def test_what_follows_is_what_the_network_finds(
    checkpoint: Checkpoint, records: list[Record]
) -> None:
    network = FrozenNetwork(checkpoint)
    films = list(decode(records, View.of(checkpoint.config.data)))
    trials = Trials(network, list(network.see(films, 0)))
    found = trials.marks_norm - trials.offsets * network.unit
    detections = list(Detector(checkpoint).detect(films))
    wanted = np.stack([one.refined_norm for one in detections])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-3)
    measured = trials.measure(network.layers, range(len(films)))
    if checkpoint.config.model.spread:
        assert measured.spreads_mm is not None
        spreads_mm = [one.spread_mm for one in detections if one.spread_mm is not None]
        np.testing.assert_allclose(measured.spreads_mm, np.stack(spreads_mm), rtol=0.02)
    else:
        assert measured.spreads_mm is None


def test_landmarks_marked_elsewhere_are_found_and_followed(
    checkpoint: Checkpoint, records: list[Record], tmp_path: Path
) -> None:
    elsewhere = marked(checkpoint, records)
    adaptation = adapt(checkpoint, elsewhere[:6])
    figures = figures_of(adaptation, ISBI2015)
    assert figures.is_gain_shown
    shown = {one.name: one for one in figures.landmarks if one.is_shown}
    for number in MOVED:
        one = shown[ISBI2015.names[number]]
        assert abs(one.right.value - SHIFT_MM[0]) < 0.5
        assert abs(one.down.value - SHIFT_MM[1]) < 0.5
    write_adapted(checkpoint, adaptation, tmp_path / "adapted")
    adapted = open_checkpoint(tmp_path / "adapted")
    # Films that it was not fitted to.
    test = elsewhere[6:]
    marks = np.stack([record.landmarks_px for record in test])
    before, after = (
        np.linalg.norm(landmarks_of(one, test) - marks, axis=-1).mean(axis=0) * test[0].spacing_mm
        for one in (checkpoint, adapted)
    )
    assert (before[list(MOVED)] > 4).all()
    assert (after < 0.8).all()
    # As it marked before.
    np.testing.assert_array_equal(
        landmarks_of(original(adapted), test), landmarks_of(checkpoint, test)
    )


def test_an_adapted_network_can_be_adapted_again(
    checkpoint: Checkpoint, records: list[Record], tmp_path: Path
) -> None:
    for name, given, shift_mm in (("one", checkpoint, SHIFT_MM), ("two", None, -SHIFT_MM)):
        before = given or open_checkpoint(tmp_path / "one")
        films = marked(checkpoint, records, shift_mm)
        write_adapted(before, adapt(before, films), tmp_path / name)
        after = open_checkpoint(tmp_path / name)
        marks = np.stack([film.landmarks_px for film in films])
        errors = np.linalg.norm(landmarks_of(after, records) - marks, axis=-1)
        assert (errors.mean(axis=0) * records[0].spacing_mm < 0.8).all()
    two = open_checkpoint(tmp_path / "two")
    np.testing.assert_array_equal(
        landmarks_of(original(two), records), landmarks_of(checkpoint, records)
    )


def test_tuned_layers_find_what_was_measured_with_them(
    checkpoint: Checkpoint, records: list[Record], tmp_path: Path
) -> None:
    films = marked(checkpoint, records)
    tuned = CANDIDATES[-1]
    before, rank = checkpoint, 0
    for name in ("one", "two"):  # the second one adds to the first
        network = FrozenNetwork(before)
        decoded = list(decode(films, View.of(before.config.data)))
        trials = Trials(network, list(network.see(decoded, 0)))
        fitted = trials.fit(tuned, trials.learn(range(len(films))))
        assert fitted.hidden_change is not None
        rank += fitted.hidden_change.narrow.shape[-1]
        adaptation = replace(adapt(before, films), fitted=fitted)
        write_adapted(before, adaptation, tmp_path / name)
        after = open_checkpoint(tmp_path / name)
        assert after.config.model.adapted_rank == rank
        found = np.stack([one.refined_norm for one in Detector(after).detect(decoded)])
        wanted = np.stack([network.follow(seen, fitted.layers)[0] for seen in trials.films])
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-3)
        hidden = FrozenNetwork(after).layers.hidden
        np.testing.assert_allclose(hidden.kernel, fitted.layers.hidden.kernel, atol=1e-5)
        np.testing.assert_allclose(hidden.bias, fitted.layers.hidden.bias, atol=1e-5)
        before = after
    np.testing.assert_array_equal(
        landmarks_of(original(before), records), landmarks_of(checkpoint, records)
    )


def test_no_gain_is_shown_where_there_is_none(
    checkpoint: Checkpoint, records: list[Record]
) -> None:
    adaptation = adapt(checkpoint, marked(checkpoint, records, 0.0))
    figures = figures_of(adaptation, ISBI2015)
    assert figures.gain_mm.value < 0.1 * figures.before_mm.value
    assert not [one for one in figures.landmarks if one.is_shown]
    assert not figures.is_gain_shown
    assert "no gain shown" in format_adaptation(adaptation, figures)
    assert adaptation_json(adaptation, figures)["gain_shown"] is False


def test_landmarks_may_be_missing(checkpoint: Checkpoint, records: list[Record]) -> None:
    some = marked(checkpoint, records)
    for number, record in enumerate(some):
        record.landmarks_px[number % 19] = np.nan
        record.landmarks_px[7] = np.nan
    done: list[int] = []
    adaptation = adapt(checkpoint, some, done.append)
    assert sum(done) == STAGES * len(some)
    assert max(done) == 1  # with so few films, each is a fold
    figures = figures_of(adaptation, ISBI2015)
    assert ISBI2015.names[7] not in {one.name for one in figures.landmarks}
    found = adaptation.fitted.layers.last.kernel[7]
    np.testing.assert_array_equal(found, FrozenNetwork(checkpoint).layers.last.kernel[7])


def test_folds_do_not_fit_the_films_that_they_measure(
    checkpoint: Checkpoint, records: list[Record]
) -> None:
    """The marks of a film, however wrong, do not change what is found on it."""
    network = FrozenNetwork(checkpoint)
    films = list(decode(records, View.of(checkpoint.config.data)))
    trials = Trials(network, list(network.see(films, 0)))
    wrong = list(films)
    wrong[4] = replace(films[4], landmarks_norm=films[4].landmarks_norm[::-1].copy())
    others = Trials(network, list(network.see(wrong, 0)))
    last = [i for i in range(9) if i != 4]
    for candidate in CANDIDATES:
        one, other = (
            each.fit(candidate, each.learn(last)).layers.last.bias for each in (trials, others)
        )
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert CANDIDATES[0] == UNCHANGED


def test_two_films_are_too_few(checkpoint: Checkpoint, records: list[Record]) -> None:
    with pytest.raises(InputError, match="2 films are marked; to adapt"):
        adapt(checkpoint, records[:2])


def test_the_command(
    checkpoint: Checkpoint, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "mine"
    given = ["adapt", "--data", str(folder), "--checkpoint", str(checkpoint.folder)]
    assert main([*given, "--output", str(output), "--set", "data.reader=junior"]) == 0
    said = capsys.readouterr().out
    assert "9 films" in said
    assert "changed: " in said
    facts = json.loads((output / "adaptation.json").read_text(encoding="utf-8"))
    assert len(facts["films"]) == 9
    page = (output / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") == 19
    assert f"{facts['before_mm']['mean']:.2f} mm before" in page
    assert all(name in page for name in ISBI2015.names)
    assert open_checkpoint(output).config.model.adapted
    for wrong, message in (
        (["--output", str(output)], "not an empty folder"),
        (["--output", str(tmp_path / "x"), "--set", "train.epochs=3"], "only data.reader"),
        (["--output", str(tmp_path / "x"), "--set", "data.reader=eve"], "the readers of ISBI"),
        (["--output", str(tmp_path / "x"), "--split", "test2"], "split 'test2'"),
    ):
        assert main([*given, *wrong]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_a_made_up_hospital(tmp_path: Path) -> None:
    """Its films are drawn, darker and blurred, and it marks three landmarks elsewhere."""
    write_dataset(tmp_path / "films", 9, seed=3, size_px=(484, 600))
    for path in (tmp_path / "films").rglob("*.png"):
        image = read_pixels(path)
        cv2.imwrite(str(path), cv2.GaussianBlur(0.8 * image, (0, 0), 1.0).astype(np.uint8))
    shipped = open_checkpoints()[0]
    records = read_dataset(tmp_path / "films", "all", shipped.config.data)
    shifts_mm = {3: (3.0, 0.0), 9: (-3.0, 3.0), 14: (0.0, 6.0)}
    for record in records:
        for k, shift_mm in shifts_mm.items():
            record.landmarks_px[k] += np.array(shift_mm) / record.spacing_mm
    adaptation = adapt(shipped, records[:6])
    figures = figures_of(adaptation, ISBI2015)
    assert figures.is_gain_shown
    shown = {one.name for one in figures.landmarks if one.is_shown}
    assert {ISBI2015.names[k] for k in shifts_mm} <= shown
    write_adapted(shipped, adaptation, tmp_path / "adapted")
    test = records[6:]
    marks = np.stack([record.landmarks_px for record in test])
    before, after = (
        np.linalg.norm(landmarks_of(one, test) - marks, axis=-1).mean(axis=0) * test[0].spacing_mm
        for one in (shipped, open_checkpoint(tmp_path / "adapted"))
    )
    moved = list(shifts_mm)
    assert after[moved].mean() < 0.5 * before[moved].mean()
    assert after.mean() < 0.8 * before.mean()
