"""Marked films that are mirrored, turned or inverted become upright."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cephray import geometry
from cephray.adapt.righting import right_by_marks
from cephray.checkpoint import shipped_checkpoint
from cephray.data import (
    ORIENTATIONS,
    UPRIGHT,
    Film,
    Orientation,
    View,
    decode,
    read_dataset,
    view_film,
    write_dataset,
)

CHECKPOINT = shipped_checkpoint()
VIEW = View.of(CHECKPOINT.config.data)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Film]:
    folder = tmp_path_factory.mktemp("films") / "data"
    write_dataset(folder, 3, size_px=(242, 300))
    return list(decode(read_dataset(folder, "all", CHECKPOINT.config.data), VIEW))


def laid(film: Film, orientation: Orientation) -> Film:
    """Return the film as it lies in an orientation, with its marks."""
    assert film.pixels is not None
    image = orientation.lay(film.pixels)
    marks_px = geometry.to_pixels(film.landmarks_norm.astype(np.float64), film.frame)
    points_px = orientation.to_film(marks_px, (image.shape[1], image.shape[0]))
    return view_film(film.film, image, points_px, film.spacing_mm, VIEW)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=str)
def test_films_are_righted_by_their_marks(
    films: list[Film], orientation: Orientation, inverted: bool
) -> None:
    for film in films:
        lying = laid(film, orientation._replace(inverted=inverted))
        righted = right_by_marks(lying, VIEW, CHECKPOINT.shapes)
        np.testing.assert_array_equal(righted.image, film.image)
        np.testing.assert_allclose(righted.landmarks_norm, film.landmarks_norm, atol=1e-5)


def test_marks_may_be_missing(films: list[Film]) -> None:
    landmarks_norm = films[0].landmarks_norm.copy()
    landmarks_norm[::2] = np.nan
    lying = laid(replace(films[0], landmarks_norm=landmarks_norm), Orientation(90, mirrored=True))
    righted = right_by_marks(lying, VIEW, CHECKPOINT.shapes)
    np.testing.assert_array_equal(righted.image, films[0].image)
    np.testing.assert_allclose(righted.landmarks_norm, landmarks_norm, atol=1e-5)


def test_a_film_is_taken_as_it_is_if_nothing_is_known(films: list[Film]) -> None:
    lying = laid(films[0], Orientation(180))
    assert right_by_marks(lying, VIEW, None) is lying
    four = lying.landmarks_norm.copy()
    four[4:] = np.nan
    lying = replace(lying, landmarks_norm=four)
    assert right_by_marks(lying, VIEW, CHECKPOINT.shapes) is lying
    assert laid(films[0], UPRIGHT).landmarks_norm == pytest.approx(films[0].landmarks_norm)
