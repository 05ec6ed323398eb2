"""Frames in which the head lies as on the training films."""

from __future__ import annotations

import numpy as np
import pytest

from cephray import geometry
from cephray.prediction.framing import frame_like, strays

SHAPE = np.random.default_rng(0).uniform(0.2, 0.8, (19, 2))
ASPECT = 1.5


@pytest.mark.parametrize("frame", [(0, 0, 200, 300), (-40, 25, 120, 180), (300, -70, 340, 510)])
def test_the_frame_that_points_were_made_in_comes_back(frame: tuple[int, int, int, int]) -> None:
    wanted = geometry.Frame(*frame)
    points = geometry.to_pixels(SHAPE, wanted)
    before = geometry.Frame(10, 10, 200, 300)
    assert frame_like(SHAPE, points, before, ASPECT) == wanted


def test_landmarks_found_amiss_do_not_ask_for_odd_frames() -> None:
    before = geometry.Frame(0, 0, 200, 300)
    for spread in (0.0, 1e6):
        points = 100 + spread * (SHAPE - 0.5)
        frame = frame_like(SHAPE, points, before, ASPECT)
        assert 100 <= frame.width <= 400


def test_landmarks_stray_if_they_are_small_or_large_or_elsewhere() -> None:
    middle = SHAPE.mean(axis=0)
    assert not strays(SHAPE, SHAPE, ASPECT)
    for scale, expected in ((0.6, True), (0.9, False), (1.1, False), (1.6, True)):
        assert strays(middle + scale * (SHAPE - middle), SHAPE, ASPECT) == expected
    for shift, expected in ((0.02, False), (0.2, True), (-0.2, True)):
        for way in np.eye(2):
            assert strays(SHAPE + shift * way, SHAPE, ASPECT) == expected


def test_missing_landmarks_do_not_count() -> None:
    points = SHAPE.copy()
    points[:10] = np.nan
    assert not strays(points, SHAPE, ASPECT)
    assert strays(points + 0.3, SHAPE, ASPECT)
    assert not strays(np.full((19, 2), np.nan), SHAPE, ASPECT)
