"""Overlays: marks lie where the landmarks are, at any size of film."""

from __future__ import annotations

import errno
from pathlib import Path

import cv2
import numpy as np
import pytest

from cephray.errors import RunError
from cephray.overlay import crop_around, draw_overlay, encode_jpeg, save_picture


@pytest.mark.parametrize("height", [200, 400, 1200])
def test_marks_lie_on_their_points(height: int) -> None:
    """The centre of mass of the yellow and green pixels, in pixels of the film."""
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


def test_points_that_are_missing_or_far_away() -> None:
    image = np.full((40, 30), 9, np.uint8)
    points = np.array([[np.nan, 1.0], [1e12, -1e12]])
    picture = draw_overlay(image, points, ["A", "B"], truth_px=points, height=40)
    assert picture.shape == (40, 30, 3)


def test_a_crop_holds_its_points_and_says_where_it_begins() -> None:
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


def test_jpeg_is_the_same_picture() -> None:
    image = np.repeat(np.arange(0, 240, 2, dtype=np.uint8)[:, None], 90, axis=1)
    picture = draw_overlay(image, np.zeros((0, 2)), [], height=120)
    content = np.frombuffer(encode_jpeg(picture), np.uint8)
    decoded = np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR))
    assert np.abs(decoded.astype(int) - picture).max() < 12


def test_a_picture_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match=r"x\.png could not be written: .*No space left"):
        save_picture(tmp_path / "x.png", np.zeros((4, 4, 3), np.uint8))
