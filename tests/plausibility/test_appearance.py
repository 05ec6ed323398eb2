"""The mean appearance of films, by which negatives are recognised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from cephray import geometry
from cephray.checkpoint import shipped_checkpoint
from cephray.data import GrayImage, Orientation, View, decode, read_dataset, write_dataset
from cephray.plausibility import is_negative
from cephray.plausibility.appearance import (
    SIDE,
    likeness,
    mean_patch,
    sample_patch,
    with_mean_film,
)

FRAME = geometry.Frame(0, 0, 400, 500)
SHAPE_PX = np.array([[150.0, 150], [250, 140], [270, 260], [180, 330], [140, 220]])
MEAN = (SHAPE_PX - SHAPE_PX.mean(axis=0)) / np.sqrt(
    np.square(SHAPE_PX - SHAPE_PX.mean(axis=0)).sum(axis=-1).mean()
)


def slope(angle_deg: float = 0.0) -> GrayImage:
    """Draw a film that becomes brighter in one direction."""
    y, x = np.mgrid[:500, :400]
    angle = np.radians(angle_deg)
    way = (x - 200) * np.cos(angle) + (y - 250) * np.sin(angle)
    return np.asarray(128 + 0.3 * way, np.uint8)


def patch_of(image: GrayImage, points_px: NDArray[np.float64] = SHAPE_PX) -> NDArray[np.float64]:
    found = sample_patch(image, FRAME, points_px, MEAN)
    assert found is not None
    return np.asarray(found)


def test_a_patch_is_a_ramp_on_a_ramp() -> None:
    """On a film that becomes brighter to the right, each row is the same straight line."""
    patch = patch_of(slope())
    line = np.linspace(-1, 1, SIDE)
    np.testing.assert_allclose(patch, np.tile(line / line.std(), (SIDE, 1)), atol=0.02)


def test_a_patch_turns_with_the_landmarks() -> None:
    angle = np.radians(30)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = SHAPE_PX.mean(axis=0)
    turned_px = (SHAPE_PX - middle) @ matrix + middle
    inner = (slice(4, -4), slice(4, -4))  # the corners of the turned patch lie outside the film
    difference = patch_of(slope(30), turned_px) - patch_of(slope())
    assert np.abs(difference[inner]).max() < 0.03


def test_a_negative_is_unlike_its_positive() -> None:
    image = np.random.default_rng(0).integers(0, 256, (500, 400), np.uint8)
    assert likeness(patch_of(image), patch_of(255 - image)) == pytest.approx(-1)
    assert likeness(patch_of(image), patch_of(image // 2)) == pytest.approx(1, abs=1e-3)


def test_there_is_no_patch_of_a_uniform_film_or_of_one_point() -> None:
    assert sample_patch(np.full((500, 400), 7, np.uint8), FRAME, SHAPE_PX, MEAN) is None
    assert sample_patch(slope(), FRAME, np.full((5, 2), 9.0), MEAN) is None
    assert sample_patch(slope(), FRAME, np.full((5, 2), np.nan), MEAN) is None
    assert mean_patch([None]) is None


def test_negatives_of_drawn_films_are_recognised(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("drawn")
    write_dataset(folder, 12, size_px=(242, 300))
    config = shipped_checkpoint().config
    statistics = shipped_checkpoint().shapes
    assert statistics is not None
    films = list(decode(read_dataset(folder, "all", config.data), View.of(config.data)))
    seen = [
        (film.image, film.frame, geometry.to_pixels(film.landmarks_norm, film.frame))
        for film in films
    ]
    drawn = with_mean_film(statistics, seen[:6])
    for image, frame, points_px in seen[6:]:
        for known in (drawn, statistics):  # from drawn films, and from real ones
            assert not is_negative(image, frame, points_px, known)
            negative = Orientation(inverted=True).right(image)
            assert is_negative(negative, frame, points_px, known)
            without = replace(known, mean_film=None)
            assert not is_negative(negative, frame, points_px, without)
