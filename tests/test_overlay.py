"""Overlays: marks lie where the landmarks are, at any size of film."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from cephray.errors import RunError
from cephray.overlay import draw_overlay, save_picture


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


def test_a_picture_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match=r"x\.png could not be written: .*No space left"):
        save_picture(tmp_path / "x.png", np.zeros((4, 4, 3), np.uint8))
