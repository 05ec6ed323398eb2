"""Tests that implausible results are doubtful, and that results of normal films are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cephray.checkpoint import shipped_checkpoint
from cephray.data import FilmFile, GrayImage, Orientation, write_dataset
from cephray.landmarks import ISBI2015
from cephray.plausibility.result import doubts
from cephray.plausibility.statistics import ShapeStatistics, shape_statistics
from cephray.prediction import Detector, predict_here
from cephray.prediction.films import Output

SIZE_PX = (1935, 2400)
SPACING_MM = 0.1
FILMS = 30


def shapes() -> NDArray[np.float64]:
    """Make shapes [N, K, 2] of random films: one shape, rotated, scaled and slightly deformed."""
    rng = np.random.default_rng(0)
    base = rng.uniform((-600, -700), (600, 700), (19, 2))
    angles = np.radians(rng.uniform(-8, 8, FILMS))
    turned = np.array([base @ [[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]] for a in angles])
    scaled = turned * rng.uniform(0.9, 1.1, (FILMS, 1, 1)) + rng.normal(0, 20, turned.shape)
    return scaled + np.array(SIZE_PX) / 2


def statistics() -> ShapeStatistics:
    found = shape_statistics(shapes(), np.full(FILMS, SIZE_PX[1]), np.full(FILMS, SPACING_MM))
    assert found is not None
    return found


NOISE = np.random.default_rng(1).integers(0, 256, (240, 193), np.uint8)


def doubts_of(
    points_px: NDArray[np.float64],
    image: GrayImage = NOISE,
    spacing_mm: float = SPACING_MM,
    radius_px: float | NDArray[np.float64] | None = None,
    known: ShapeStatistics | None = None,
) -> str:
    radii = None if radius_px is None else np.broadcast_to(radius_px, len(points_px))
    return "; ".join(
        doubts(image, points_px, SIZE_PX, SIZE_PX[1], spacing_mm, radii, known or statistics())
    )


@pytest.mark.parametrize("number", range(FILMS))
def test_a_training_film_is_not_doubtful(number: int) -> None:
    assert doubts_of(shapes()[number], radius_px=40) == ""


def turned(points_px: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    angle, middle = np.radians(degrees), points_px.mean(axis=0)
    matrix = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    return np.asarray((points_px - middle) @ matrix + middle)


def scaled(points_px: NDArray[np.float64], times: float) -> NDArray[np.float64]:
    middle = points_px.mean(axis=0)
    return np.asarray((points_px - middle) * times + middle)


SHAPE = shapes()[0]
IMPLAUSIBLE_SHAPES = {
    "mirrored": (np.array([SIZE_PX[0], 0]) + SHAPE * [-1, 1], "they are mirrored"),
    "on its left side": (turned(SHAPE, -90), "turned by -83 degrees"),
    "on its right side": (turned(SHAPE, 90), "turned by 97 degrees"),
    "upside down": (turned(SHAPE, 180), "is the film upright?"),
    "two swapped": (SHAPE[[9, *range(1, 9), 0, *range(10, 19)]], "form no shape"),
    "small": (scaled(SHAPE, 0.4), "much larger or smaller on the film"),
    "one place": (np.full((19, 2), 700.0), "all landmarks lie at one place"),
    "noise": (np.random.default_rng(5).uniform(100, 1800, (19, 2)), "form no shape"),
    "outside": (SHAPE + np.array([900, 0]), "landmarks lie outside the film"),
    "not numbers": (np.full((19, 2), np.nan), "some landmarks are not numbers"),
    "all on a line": (np.stack([np.linspace(100, 1800, 19)] * 2, -1), "form no shape"),
}  # fmt: skip


@pytest.mark.parametrize("case", IMPLAUSIBLE_SHAPES)
def test_implausible_shapes_are_doubtful(case: str) -> None:
    points_px, words = IMPLAUSIBLE_SHAPES[case]
    assert words in doubts_of(points_px)


def test_contrast_confidence_and_spacing_are_checked() -> None:
    assert "contrast" in doubts_of(SHAPE, image=np.full((240, 193), 90, np.uint8))
    assert "unsure" in doubts_of(SHAPE, radius_px=400)
    few, most = np.arange(19) < 9, np.arange(19) < 10  # landmarks with a large radius
    assert doubts_of(SHAPE, radius_px=np.where(few, 400.0, 40.0)) == ""
    assert "unsure" in doubts_of(SHAPE, radius_px=np.where(most, 400.0, 40.0))
    for spacing_mm in (0.04, 0.25):
        assert "is the spacing right?" in doubts_of(SHAPE, spacing_mm=spacing_mm)
    assert doubts_of(SHAPE, spacing_mm=float("nan")) == ""


FLAT = {
    "black": np.zeros((100, 80), np.uint8),
    "white": np.full((100, 80), 255, np.uint8),
    "a label": cv2.putText(np.zeros((400, 300), np.uint8), "R", (9, 30), 0, 0.6, 255, 1),
    "two greys": np.repeat(np.array([[0, 255]], np.uint8), 80, axis=1).repeat(100, axis=0),
    "seven greys": np.repeat(np.arange(0, 210, 30, dtype=np.uint8), 100).reshape(7, 100),
    "faint noise": np.random.default_rng(0).integers(90, 98, (100, 80), np.uint8),
}


@pytest.mark.parametrize("case", FLAT)
def test_a_film_without_contrast_is_doubtful(case: str) -> None:
    assert "contrast" in doubts_of(SHAPE, image=np.asarray(FLAT[case], np.uint8))


def test_statistics_survive_a_json_round_trip() -> None:
    assert ShapeStatistics.from_json(statistics().to_json()) == statistics()


def test_statistics_ignore_films_with_missing_landmarks() -> None:
    assert shape_statistics(shapes()[:2], np.full(2, 2400), np.full(2, 0.1)) is None
    incomplete = shapes()
    incomplete[1:, 3] = np.nan
    assert shape_statistics(incomplete, np.full(FILMS, 2400), np.full(FILMS, 0.1)) is None
    incomplete = shapes()
    incomplete[0, 3] = np.nan
    found = shape_statistics(incomplete, np.full(FILMS, 2400), np.full(FILMS, 0.1))
    assert found is not None
    assert found.films == FILMS - 1


LYING = {
    "left": Orientation(270),
    "right": Orientation(90),
    "down": Orientation(180),
    "mirrored": Orientation(mirrored=True),
    "inverted": Orientation(inverted=True),
    "in every way": Orientation(90, mirrored=True, inverted=True),
}


def lie(upright: GrayImage, orientation: Orientation) -> GrayImage:
    """Make the film that lies in an orientation of an upright film."""
    film = upright[:, ::-1] if orientation.mirrored else upright
    film = np.rot90(film, -(orientation.turned_deg // 90))
    return 255 - film if orientation.inverted else film


def frontal() -> GrayImage:
    """Draw a rough frontal skull, which is symmetric with two orbits, a nose and teeth."""
    image = np.full((600, 484), 20, np.uint8)
    cv2.ellipse(image, (242, 250), (165, 210), 0, 0, 360, 150, -1)
    cv2.ellipse(image, (242, 250), (150, 195), 0, 0, 360, 110, -1)
    cv2.ellipse(image, (242, 430), (105, 120), 0, 0, 360, 140, -1)
    for x in (177, 307):
        cv2.ellipse(image, (x, 280), (45, 38), 0, 0, 360, 50, -1)
        cv2.ellipse(image, (x, 280), (45, 38), 0, 0, 360, 190, 3)
    cv2.ellipse(image, (242, 345), (22, 40), 0, 0, 360, 60, -1)
    for x in range(190, 300, 14):
        cv2.rectangle(image, (x, 425), (x + 10, 455), 220, -1)
    return np.asarray(cv2.GaussianBlur(image, (7, 7), 0), np.uint8)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Output]:
    """Return predictions of drawn films by the checkpoint in the package."""
    folder = tmp_path_factory.mktemp("films")
    write_dataset(folder / "drawn", 2, size_px=(484, 600))
    sources = sorted((folder / "drawn").rglob("*.png"))
    upright, second = (np.asarray(cv2.imread(str(path), 0)) for path in sources)
    images = {
        "upright": upright, "second": second,
        **{name: lie(upright, orientation) for name, orientation in LYING.items()},
        "frontal": frontal(),
        "noise": np.random.default_rng(0).integers(0, 256, (600, 484), np.uint8),
        "even": np.full((600, 484), 90, np.uint8),
    }  # fmt: skip
    files = []
    for name, image in images.items():
        path = folder / f"{name}.png"
        cv2.imwrite(str(path), np.ascontiguousarray(image))
        files.append(FilmFile(name, path))
    outcomes = predict_here(Detector(shipped_checkpoint()), files, ISBI2015)
    found = {files[number].name: outcome for number, outcome in outcomes}
    return {name: one for name, one in found.items() if isinstance(one, Output)}


@pytest.mark.parametrize("name", ["upright", "second"])
def test_a_normal_film_is_not_doubtful(results: dict[str, Output], name: str) -> None:
    facts = results[name].facts
    assert facts["doubtful"] == []
    assert facts["orientation"] == {"turned_deg": 0, "mirrored": False, "inverted": False}
    assert {found["class"] for found in facts["measurements"]} != {0}


@pytest.mark.parametrize("name", LYING)
def test_films_are_righted(results: dict[str, Output], name: str) -> None:
    """The landmarks are those of the upright film, at their places on the film as it lies."""
    facts, orientation = results[name].facts, LYING[name]
    assert Orientation(**facts["orientation"]) == orientation
    assert facts["doubtful"] == []
    points, upright = (
        np.array([[point["x_px"], point["y_px"]] for point in results[one].facts["landmarks"]])
        for one in (name, "upright")
    )
    size_px = tuple(facts["size_px"])
    np.testing.assert_allclose(points, orientation.to_film(upright, size_px), atol=0.05)
    assert [one["class"] for one in facts["measurements"]] == [
        one["class"] for one in results["upright"].facts["measurements"]
    ]


@pytest.mark.parametrize("name", ["frontal", "noise", "even"])
def test_a_picture_that_is_no_cephalogram_is_doubtful(
    results: dict[str, Output], name: str
) -> None:
    """The JSON and the picture contain the warning, and all classes are unknown."""
    facts = results[name].facts
    assert facts["doubtful"]
    assert {found["class"] for found in facts["measurements"]} == {0}
    picture = cv2.imdecode(np.frombuffer(results[name].picture, np.uint8), cv2.IMREAD_COLOR)
    red = np.abs(np.asarray(picture)[:5].astype(int) - [40, 40, 190]).max()
    assert red == 0
