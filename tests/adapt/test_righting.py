"""Marked films that are mirrored, turned or inverted become upright."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cephray import geometry
from cephray.adapt.righting import frame_by_marks, right_by_marks
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
DOWN_PX = np.array([0, 300])
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


def test_a_small_head_is_shown_as_large_as_usual(films: list[Film]) -> None:
    """The marks stay on the same pixels of the film, and lie in the frame as the mean shape."""
    film = films[0]
    assert film.pixels is not None
    marks_px = geometry.to_pixels(film.landmarks_norm.astype(np.float64), film.frame)
    wide = np.pad(film.pixels, ((300, 0), (0, 250)))
    padded = view_film(film.film, wide, marks_px + DOWN_PX, film.spacing_mm, VIEW)
    shape_norm = film.landmarks_norm
    shown = frame_by_marks(padded, VIEW, shape_norm)
    np.testing.assert_allclose(shown.landmarks_norm, shape_norm, atol=0.01)
    points_px = geometry.to_pixels(shown.landmarks_norm.astype(np.float64), shown.frame)
    np.testing.assert_allclose(points_px, marks_px + DOWN_PX, atol=0.01)
    assert frame_by_marks(film, VIEW, shape_norm) is film
    assert frame_by_marks(padded, VIEW._replace(fit="stretch"), shape_norm) is padded
