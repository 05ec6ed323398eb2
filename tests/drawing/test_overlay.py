"""Tests that overlays show marks, lines, labels and warnings at the right positions."""

from __future__ import annotations

import errno
from pathlib import Path

import cv2
import numpy as np
import pytest

from cephray.drawing.overlay import crop_around, draw_overlay, encode_jpeg, save_picture
from cephray.errors import RunError
from cephray.landmarks import ISBI2015, TracingLine


@pytest.mark.parametrize("height", [200, 400, 1200])
def test_marks_are_centred_on_their_points(height: int) -> None:
    """The centroids of the yellow and the green pixels are the points, in film pixels."""
    image = np.zeros((400, 300), np.uint8)
    predicted, truth = np.array([[80.0, 120.0]]), np.array([[220.0, 300.0]])
    picture = draw_overlay(image, predicted, [""], truth_px=truth, height=height)
    assert picture.shape == (height, height * 3 // 4, 3)
    blue, green, red = picture.astype(float).transpose(2, 0, 1)
    for weight, point in (
        ((red > 200) & (green > 200), predicted[0]),
        ((green > 200) & (red < 150) & (blue < 150), truth[0]),
    ):
        rows, columns = np.nonzero(weight)
        centre = (np.array([columns.mean(), rows.mean()]) + 0.5) * 400 / height - 0.5
        np.testing.assert_allclose(centre, point, atol=1.0)


def test_missing_and_distant_points_are_accepted() -> None:
    image = np.full((40, 30), 9, np.uint8)
    points = np.array([[np.nan, 1.0], [1e12, -1e12]])
    picture = draw_overlay(image, points, ["A", "B"], truth_px=points, height=40)
    assert picture.shape == (40, 30, 3)


LINE = TracingLine("Sella–nasion", "S", "N")


@pytest.mark.parametrize("height", [400, 1200])
def test_a_line_extends_a_little_beyond_its_landmarks(height: int) -> None:
    image = np.zeros((400, 300), np.uint8)
    points = np.array([[80.0, 200.0], [220.0, 200.0]])
    bare = draw_overlay(image, points, ["S", "N"], height=height)
    drawn = draw_overlay(image, points, ["S", "N"], height=height, lines=[LINE])
    rows, columns = np.nonzero((drawn != bare).any(axis=-1))
    film_x, film_y = ((c + 0.5) * 400 / height - 0.5 for c in (columns, rows))
    np.testing.assert_allclose(film_y, 200, atol=1.01)
    assert 65 < film_x.min() < 75  # 8 of 400 beyond, and no more
    assert 225 < film_x.max() < 235


def test_lines_lie_under_dots_labels_and_truth() -> None:
    """All pixels that are yellow, green or red without lines keep their colour with lines."""
    image = np.zeros((400, 300), np.uint8)
    angle = np.linspace(0, 2 * np.pi, 19, endpoint=False)
    points = np.stack([150 + 90 * np.cos(angle), 200 + 130 * np.sin(angle)], axis=-1)
    labels, lines = ISBI2015.abbreviations, ISBI2015.lines
    bare = draw_overlay(image, points, labels, truth_px=points + 4)
    drawn = draw_overlay(image, points, labels, truth_px=points + 4, lines=lines)
    solid = (bare == [[80, 220, 255]]).all(-1) | (bare == [[120, 255, 80]]).all(-1)
    solid |= (bare == [[60, 60, 255]]).all(-1)
    assert solid.sum() > 1000
    np.testing.assert_array_equal(drawn[solid], bare[solid])
    assert (drawn != bare).any()


@pytest.mark.parametrize("height", [800, 1200])
def test_labels_have_a_dark_outline(height: int) -> None:
    """No pixel of a label's colour touches the white film or a line."""
    image = np.full((400, 300), 255, np.uint8)
    points = np.array([[80.0, 200.0], [220.0, 206.0]])
    picture = draw_overlay(image, points, ["S", "N"], height=height, lines=[LINE]).astype(int)
    scale, (x, y) = height / 400, (np.array([80, 200]) * height / 400).astype(int)
    label = picture[y - int(8 * scale) : y + int(6 * scale), x + int(2.6 * scale) : x * 2]
    ground = (label >= 245).all(-1) | (np.abs(label - [235, 170, 90]).max(-1) < 20)
    yellow = np.abs(label - [80, 220, 255]).max(-1) < 20
    assert yellow.any()
    beside = [np.roll(yellow, step, axis) for step in (-1, 1) for axis in (0, 1)]
    assert not (ground & np.any(beside, axis=0)).any()


@pytest.mark.parametrize(
    "points",
    [
        [[np.nan, 1.0], [20.0, 30.0]],
        [[np.inf, 1.0], [-np.inf, 30.0]],
        [[5.0, 5.0], [5.0, 5.0]],
    ],
)
def test_lines_with_missing_or_coincident_landmarks_are_left_out(
    points: list[list[float]],
) -> None:
    image, labels = np.zeros((40, 30), np.uint8), ["S", "N"]
    np.testing.assert_array_equal(
        draw_overlay(image, np.array(points), labels, height=200, lines=[LINE]),
        draw_overlay(image, np.array(points), labels, height=200),
    )


def test_a_line_to_a_distant_landmark_is_accepted() -> None:
    points = np.array([[10.0, 10.0], [1e30, -1e30]], np.float32)
    picture = draw_overlay(np.zeros((40, 30), np.uint8), points, ["S", "N"], lines=[LINE])
    assert picture.any()


@pytest.mark.parametrize("width", [120, 300, 900])
def test_warnings_are_added_above_the_film(width: int) -> None:
    image, points = np.full((400, width), 90, np.uint8), np.array([[20.0, 30.0]])
    plain = draw_overlay(image, points, ["S"], height=400)
    warned = draw_overlay(image, points, ["S"], height=400, doubts=["the head is turned " * 6])
    np.testing.assert_array_equal(warned[-400:], plain)
    strip = warned[:-400]
    assert (strip == 255).all(axis=-1).any()
    assert (strip[:, -1] == strip[0, 0]).all()  # the text ends before the right edge


def test_lines_of_another_landmark_set_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'Sella–nasion' needs N, which the labels lack; pass"):
        draw_overlay(np.zeros((40, 30), np.uint8), np.ones((1, 2)), ["S"], lines=[LINE])


def test_a_crop_contains_its_points_with_a_margin() -> None:
    image = (np.arange(100 * 80) % 256).astype(np.uint8).reshape(100, 80)
    points = np.array([[30.0, 40.0], [50.0, 44.5], [np.nan, np.nan], [900.0, 5.0]])
    part, origin = crop_around(image, points)
    np.testing.assert_array_equal(origin, [22, 32])
    assert part.shape == (53 - 32, 59 - 22)
    np.testing.assert_array_equal(part, image[32:53, 22:59])
    part, origin = crop_around(image, np.array([[0.0, 0.0], [79.0, 99.0]]))
    assert (part.shape, origin.tolist()) == ((100, 80), [0, 0])
    part, origin = crop_around(image, np.full((2, 2), np.nan))
    assert (part.shape, origin.tolist()) == ((100, 80), [0, 0])


def test_jpeg_decodes_to_nearly_the_same_picture() -> None:
    image = np.repeat(np.arange(0, 240, 2, dtype=np.uint8)[:, None], 90, axis=1)
    picture = draw_overlay(image, np.zeros((0, 2)), [], height=120)
    content = np.frombuffer(encode_jpeg(picture), np.uint8)
    decoded = np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR))
    assert np.abs(decoded.astype(int) - picture).max() < 12


def test_a_picture_that_cannot_be_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match=r"x\.png could not be written: .*No space left"):
        save_picture(tmp_path / "x.png", np.zeros((4, 4, 3), np.uint8))
