"""Tests synthetic films: size, anatomy, reproducibility, and data sets on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cephray.config import DataConfig
from cephray.data.dataset.records import read_dataset
from cephray.data.films import read_pixels
from cephray.data.synthetic import draw as synthetic
from cephray.data.synthetic.anatomy import CONTOURS, LANDMARKS_MM
from cephray.data.synthetic.radiograph import Stroke, attenuation, spline
from cephray.errors import InputError
from cephray.landmarks import (
    ISBI2015,
    Landmark,
    LandmarkSet,
    landmark_set,
    landmark_set_names,
)

SIZE = (240, 300)
INDEX = {name: k for k, name in enumerate(ISBI2015.abbreviations)}


def draw(seed: int, size_px: tuple[int, int] = SIZE) -> Any:
    return synthetic.draw_film(np.random.default_rng(seed), size_px)


def grey_at(image: Any, point_px: Any, reach: int = 2) -> float:
    x, y = np.round(point_px).astype(int)
    return float(image[y - reach : y + reach + 1, x - reach : x + reach + 1].mean())


@pytest.mark.parametrize("size", [(240, 300), (64, 80), (320, 320), (400, 300), (150, 300)])
def test_films_have_the_given_size_and_a_margin_around_landmarks(size: tuple[int, int]) -> None:
    for seed in range(8):
        image, landmarks_px = draw(seed, size)
        assert image.dtype == np.uint8
        assert image.shape == size[::-1]
        assert landmarks_px.shape == (len(ISBI2015), 2)
        margin_mm = np.minimum(landmarks_px + 0.5, np.array(size) - 0.5 - landmarks_px)
        assert margin_mm.min() * synthetic.spacing_mm(size) > 7.9
        assert image.max() > 180
        assert image.min() < 40


def test_landmarks_are_in_anatomical_order() -> None:
    for seed in range(40):
        p = dict(zip(INDEX, draw(seed, (32, 40))[1] * synthetic.spacing_mm((32, 40)), strict=True))
        assert p["N"][0] > p["S"][0] + 45  # looks to the right
        assert p["Po"][0] < p["S"][0]
        assert p["PNS"][0] < p["ANS"][0] - 30
        assert p["N"][1] < p["ANS"][1] < p["UI"][1] < p["B"][1] < p["Pog"][1] < p["Me"][1]
        assert p["Pog'"][0] > p["Pog"][0] + 4
        assert np.linalg.norm(p["UI"] - p["LI"]) < 12


def test_heads_differ_and_are_reproducible() -> None:
    image, landmarks_px = draw(0)
    again, same_px = draw(0)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(landmarks_px, same_px)
    shapes = np.stack([draw(seed, (32, 40))[1] for seed in range(20)]) * 6.0  # [20, 19, 2], mm
    sd_mm = (shapes - shapes[:, :1]).std(axis=0)[1:]
    assert (sd_mm.max(axis=-1) > 1.5).all()
    assert (sd_mm < 15).all()


def test_landmarks_are_the_same_at_every_size() -> None:
    small, large = (draw(3, size)[1] for size in ((64, 80), (640, 800)))
    np.testing.assert_allclose((small + 0.5) * 10, large + 0.5)


def test_landmarks_lie_on_their_anatomy() -> None:
    """The film is darker in front of soft tissue, and beside bone."""
    contrasts: dict[str, list[float]] = {name: [] for name in ("UL", "LL", "Pog'", "S", "Po")}
    mm = 1 / synthetic.spacing_mm((480, 600))
    for seed in range(8):
        image, landmarks_px = draw(seed, (480, 600))
        p = dict(zip(INDEX, landmarks_px, strict=True))
        forward = p["N"] - p["S"]
        forward = forward / np.linalg.norm(forward) * mm  # one millimetre towards the face
        down = np.array([-forward[1], forward[0]])
        for name in ("UL", "LL", "Pog'"):
            tissue, air = (grey_at(image, p[name] + step * forward, 1) for step in (-2.5, 2.5))
            contrasts[name].append(tissue - air)
        contrasts["S"].append(grey_at(image, p["S"] + 5.5 * down, 0) - grey_at(image, p["S"], 1))
        contrasts["Po"].append(
            grey_at(image, p["Po"], 0) - grey_at(image, p["Po"] + 4.5 * down, 1)
        )
    for name, values in contrasts.items():
        assert np.mean(values) > 15, name
        assert np.min(values) > 0, name


@pytest.mark.parametrize("turn", [1, -1])
def test_a_filled_curve_has_the_right_centre_and_area(turn: int) -> None:
    centre, radius = np.array([20.3, 17.8]), 11.4
    angle = turn * np.linspace(0, 2 * np.pi, 12, endpoint=False)
    circle = spline(centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1), True)
    total = attenuation([Stroke(circle, True, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)], (40, 36))
    y, x = np.mgrid[:36, :40]
    drawn = np.array([(x * total).sum(), (y * total).sum()]) / total.sum()
    np.testing.assert_allclose(drawn, centre, atol=0.1)
    assert np.sqrt(total.sum() / np.pi) == pytest.approx(radius, abs=0.15)


@pytest.mark.parametrize("closed", [True, False])
def test_splines_pass_through_their_control_points(closed: bool) -> None:
    controls = np.random.default_rng(0).random((7, 2)) * 50
    curve = spline(controls, closed)
    nearest = np.linalg.norm(curve[:, None] - controls, axis=-1).min(axis=0)
    np.testing.assert_allclose(nearest, 0, atol=1e-9)


def test_contours_pass_through_all_landmarks() -> None:
    assert set(LANDMARKS_MM) > set(ISBI2015.abbreviations)
    named = {c for contour in CONTOURS for c in contour.controls if isinstance(c, str)}
    roots = {"UIA", "LIA"}
    cusps = {"UPM", "LPM", "UMT", "LMT"}
    centres = {"S", "D"}  # of a fossa, and of the symphysis
    assert named >= set(LANDMARKS_MM) - {*centres, *roots, *cusps}
    points = np.array(
        [c for contour in CONTOURS for c in contour.controls if not isinstance(c, str)]
    )
    for name in roots | cusps:  # of teeth, whose contours are computed
        assert np.linalg.norm(points - LANDMARKS_MM[name], axis=1).min() < 0.1


@pytest.mark.parametrize("name", landmark_set_names())
def test_every_set_can_be_drawn(name: str, tmp_path: Path) -> None:
    landmarks = landmark_set(name)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        _, points_px = synthetic.draw_film(rng, SIZE, landmarks)
        assert points_px.shape == (len(landmarks), 2)
        margin_mm = np.minimum(points_px + 0.5, np.array(SIZE) - 0.5 - points_px)
        assert margin_mm.min() * synthetic.spacing_mm(SIZE) > 7.9
    synthetic.write_dataset(tmp_path / "films", 2, size_px=SIZE, landmarks=landmarks)
    [record] = read_dataset(tmp_path / "films", "train", DataConfig(landmarks=name))
    assert record.landmarks_px.shape == (len(landmarks), 2)


def test_sets_mark_the_same_points_of_a_head() -> None:
    """The other set's film has other margins, and so it is moved as a whole."""
    by_name = []
    for name in ("isbi2015", "aariz"):
        landmarks = landmark_set(name)
        _, points_px = synthetic.draw_film(np.random.default_rng(5), (640, 800), landmarks)
        by_name.append(dict(zip(landmarks.abbreviations, points_px, strict=True)))
    isbi, aariz = by_name
    moved = aariz["S"] - isbi["S"]
    pairs = {"N": "N", "Go": "Go", "LI": "LIT", "UI": "UIT", "UL": "Ls", "LL": "Li", "Sn": "Sn"}
    for one, other in pairs.items():
        np.testing.assert_allclose(aariz[other] - isbi[one], moved, atol=1e-6)
    assert aariz["Pn"][0] > aariz["Ls"][0] + 20  # the nose is before the lips
    assert aariz["Co"][1] < aariz["R"][1] < aariz["Go"][1]


def test_a_landmark_that_the_head_lacks_is_named(tmp_path: Path) -> None:
    landmarks = LandmarkSet("own", (Landmark("Opisthion", "Op"),))
    with pytest.raises(
        InputError, match=r"'own': the drawn head has no Opisthion \(Op\); it has A,"
    ):
        synthetic.write_dataset(tmp_path / "films", 2, size_px=SIZE, landmarks=landmarks)
    assert not (tmp_path / "films").exists()


def test_written_data_sets_can_be_read(tmp_path: Path) -> None:
    written: list[int] = []
    folder = tmp_path / "new" / "data"
    synthetic.write_dataset(folder, 3, seed=7, size_px=SIZE, on_film=written.append)
    assert written == [1, 2, 3]
    assert [p.name for p in folder.parent.iterdir()] == ["data"]
    assert [r.film for r in read_dataset(folder, "train", DataConfig())] == ["001", "002"]
    assert [r.film for r in read_dataset(folder, "test1", DataConfig())] == ["003"]
    for number, record in enumerate(read_dataset(folder, "all", DataConfig()), 1):
        image, landmarks_px = synthetic.draw_film(np.random.default_rng([7, number]), SIZE)
        np.testing.assert_array_equal(read_pixels(record.image_path), image)
        np.testing.assert_allclose(record.landmarks_px, landmarks_px, atol=0.00501)
        assert record.spacing_mm == pytest.approx(240 / SIZE[1])
        difference_px = record.readers_px["junior"] - record.readers_px["senior"]
        assert 0 < np.abs(difference_px).max() * record.spacing_mm < 5


def test_a_film_does_not_depend_on_the_count(tmp_path: Path) -> None:
    for count in (2, 3):
        synthetic.write_dataset(tmp_path / str(count), count, size_px=(32, 40))
    films = [
        (r.image_path.read_bytes(), r.landmarks_px.tolist())
        for count in (2, 3)
        for r in read_dataset(tmp_path / str(count), "all", DataConfig())[:2]
    ]
    assert films[:2] == films[2:]
    assert films[0] != films[1]


def test_default_size_needs_no_spacing_file(tmp_path: Path) -> None:
    synthetic.write_dataset(tmp_path, 2)  # the folder exists and is empty
    assert not (tmp_path / "spacing.csv").exists()
    record = read_dataset(tmp_path, "train", DataConfig())[0]
    assert record.spacing_mm == 0.1
    assert read_pixels(record.image_path).shape == (2400, 1935)


def test_unusable_folders_and_sizes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="is not an empty folder; give a new one"):
            synthetic.write_dataset(folder, 2)
    with pytest.raises(InputError, match=r"data cannot be created"):
        synthetic.write_dataset(tmp_path / "file" / "data", 2)
    with pytest.raises(InputError, match=r"count must be at least 2.*got 1"):
        synthetic.write_dataset(tmp_path / "data", 1)
    with pytest.raises(InputError, match="at least 32 × 32 pixels; got 10 × 300"):
        synthetic.write_dataset(tmp_path / "data", 2, size_px=(10, 300))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_interrupted_data_set_is_removed(tmp_path: Path) -> None:
    def stop(number: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthetic.write_dataset(tmp_path / "data", 3, size_px=(32, 40), on_film=stop)
    assert list(tmp_path.iterdir()) == []
