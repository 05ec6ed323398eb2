"""Looking again: a frame in which the landmarks lie as the mean shape does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from cephray import geometry
from cephray.checkpoint import Checkpoint, Progress, open_checkpoint, save_checkpoint
from cephray.config import Config, DataConfig, load_config
from cephray.data import View, decode, read_dataset, write_dataset
from cephray.errors import InputError
from cephray.model import build_network
from cephray.prediction.detector import Detection, Detector
from cephray.prediction.framing import frame_like, zoomed

pytestmark = pytest.mark.usefixtures("tiny_backbones")
SHAPE = np.random.default_rng(0).uniform(0.2, 0.8, (19, 2))
ASPECT = 1.5


def test_a_second_look_sees_the_frame_of_the_first(
    small_config: Callable[..., Config], tmp_path: Path
) -> None:
    """Two looks are one, and then one at the frame that it asks for."""
    write_dataset(tmp_path / "films", 6, size_px=(192, 240))
    once = small_config("data.fit=letterbox", "model.spread=true", "loss.error=laplace",
                        "loss.unit=mm", "model.offset_unit=window", "data.image_height=96",
                        "inference.confidence=[0.5, 1.5]",
                        "inference.reframing=false")  # fmt: skip
    twice = once.model_copy(update={"inference": once.inference.model_copy(update={"looks": 2})})
    keras.utils.set_random_seed(0)
    network = build_network(once)
    network.get_layer("detection").prior.assign(SHAPE)
    for name, config in (("once", once), ("twice", twice)):
        save_checkpoint(tmp_path / name, config, Progress(), network)
    first, second = (Detector(open_checkpoint(tmp_path / name)) for name in ("once", "twice"))
    records = read_dataset(tmp_path / "films", "test1", DataConfig())
    before = list(first.detect(decode(records, first.view)))
    after = list(second.detect(decode(records, second.view)))
    for record, one, two in zip(records, before, after, strict=True):
        assert one.film.pixels is None
        assert two.film.frame != one.film.frame
        frame = frame_like(SHAPE, one.refined_px, one.film.frame, 96 / 64)
        assert two.film.frame == frame
        truth_px = geometry.to_pixels(two.film.landmarks_norm.astype(np.float64), frame)
        np.testing.assert_allclose(truth_px, record.landmarks_px, atol=0.01)
        assert two.spread_mm is not None
        assert two.confidence is not None
        sure = 1 / (1 + np.exp(-(0.5 - 1.5 * np.log(two.spread_mm))))
        np.testing.assert_allclose(two.confidence, sure, rtol=1e-5)


def test_zooms_are_looks_of_their_own_and_count_alike(
    small_config: Callable[..., Config], tmp_path: Path
) -> None:
    write_dataset(tmp_path / "films", 4, size_px=(192, 240))
    plain = small_config("data.fit=letterbox", "model.spread=true", "loss.error=laplace",
                         "loss.unit=mm", "model.offset_unit=window",
                         "inference.reframing=false")  # fmt: skip
    keras.utils.set_random_seed(0)
    network = build_network(plain)
    network.get_layer("detection").prior.assign(SHAPE)
    found = {}
    records = read_dataset(tmp_path / "films", "test1", DataConfig())
    for name, zooms in (("one", (1.0,)), ("wide", (1.25,)), ("both", (1.0, 1.25))):
        inference = plain.inference.model_copy(update={"zooms": zooms})
        config = plain.model_copy(update={"inference": inference})
        save_checkpoint(tmp_path / name, config, Progress(), network)
        detector = Detector(open_checkpoint(tmp_path / name))
        found[name] = list(detector.detect(decode(records, detector.view)))
    for one, wide, both in zip(found["one"], found["wide"], found["both"], strict=True):
        assert both.film.frame == wide.film.frame == one.film.frame
        assert np.abs(wide.refined_px - one.refined_px).max() > 0.1
        mean_px = (one.refined_px + wide.refined_px) / 2
        np.testing.assert_allclose(both.refined_px, mean_px, atol=0.01)
        assert one.spread_mm is not None
        assert wide.spread_mm is not None
        assert both.spread_mm is not None
        mean_mm = np.sqrt(one.spread_mm * wide.spread_mm)
        np.testing.assert_allclose(both.spread_mm, mean_mm, rtol=1e-4)


def test_a_zoomed_frame_keeps_its_middle() -> None:
    frame = zoomed(geometry.Frame(-20, 30, 200, 300), 1.25)
    assert frame == (-45, -8, 250, 375)
    assert zoomed(frame, 1.0) == frame


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("inference.looks=2", r"inference\.looks=2 needs data\.fit=letterbox and"),
        ("inference.zooms=[1, 1.1]", r"inference\.zooms needs data\.fit=letterbox"),
        ("inference.zooms=[]", r"inference\.zooms"),
        ("inference.zooms=[0.1]", r"inference\.zooms"),
        ("inference.confidence=[1, 2]", r"inference\.confidence needs model\.spread=true"),
    ],
)
def test_what_inference_needs(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_config(overrides=[override])


def test_a_view_is_of_the_configuration() -> None:
    assert View.of(DataConfig(fit="letterbox")) == (800, 640, "letterbox")


def test_an_ensemble_is_the_mean_of_its_networks(
    small_config: Callable[..., Config], tmp_path: Path
) -> None:
    write_dataset(tmp_path / "films", 4, size_px=(192, 240))
    config = small_config("model.spread=true", "loss.error=laplace", "loss.unit=mm")
    checkpoints = []
    for seed in range(3):
        keras.utils.set_random_seed(seed)
        network = build_network(config)
        network.get_layer("detection").prior.assign(SHAPE + 0.02 * seed)
        save_checkpoint(tmp_path / str(seed), config, Progress(), network)
        checkpoints.append(open_checkpoint(tmp_path / str(seed)))
    records = read_dataset(tmp_path / "films", "test1", DataConfig())

    def detect(*members: Checkpoint) -> list[Detection]:
        detector = Detector(*members)
        return list(detector.detect(decode(records, detector.view)))

    alone = [detect(checkpoint) for checkpoint in checkpoints]
    for together, *each in zip(detect(*checkpoints), *alone, strict=True):
        assert np.abs(each[0].refined_norm - each[1].refined_norm).max() > 0.01
        for stage in ("coarse_norm", "refined_norm"):
            mean = np.mean([getattr(one, stage) for one in each], axis=0)
            np.testing.assert_allclose(getattr(together, stage), mean, atol=1e-5)
        spread_mm = np.prod([one.spread_mm for one in each], axis=0) ** (1 / 3)
        np.testing.assert_allclose(together.spread_mm, spread_mm, rtol=1e-4)


def test_an_ensemble_sees_the_same_images(
    small_config: Callable[..., Config], tmp_path: Path
) -> None:
    for name, config in (("a", small_config()), ("b", small_config("data.image_width=96"))):
        save_checkpoint(tmp_path / name, config, Progress(), build_network(config))
    first, second = (open_checkpoint(tmp_path / name) for name in ("a", "b"))
    with pytest.raises(
        InputError, match=r"sees isbi2015 at 96 × 96 pixels, stretch, that of .*/a"
    ):
        Detector(first, second)


@pytest.mark.parametrize(("repeatable", "seen"), [(True, 2), (False, 1)])
def test_a_film_that_is_alone_is_seen_once_if_wanted(
    repeatable: bool, seen: int, small_config: Callable[..., Config], tmp_path: Path
) -> None:
    write_dataset(tmp_path / "films", 4, size_px=(192, 240))
    config = small_config("data.fit=letterbox")
    save_checkpoint(tmp_path / "one", config, Progress(), build_network(config))
    checkpoint = open_checkpoint(tmp_path / "one")
    detector = Detector(checkpoint, repeatable=repeatable)
    [step], sizes = detector._predict, []

    def counted(images: Any) -> Any:
        sizes.append(len(images))
        return step(images)

    detector._predict = [counted]
    film = next(
        iter(decode(read_dataset(tmp_path / "films", "test1", DataConfig()), detector.view))
    )
    [found] = detector.detect([film])
    assert set(sizes) == {seen}
    [expected] = Detector(checkpoint).detect([film])
    np.testing.assert_allclose(found.refined_px, expected.refined_px, atol=0.01)
