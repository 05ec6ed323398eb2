"""Measures do not depend on how a film lies."""

from __future__ import annotations

import numpy as np
import pytest

from cephray.clinical import analysis_named, analysis_names, classify, measure
from cephray.clinical.upright import upright
from cephray.data.orientation import ORIENTATIONS, Orientation
from cephray.landmarks import ISBI2015
from tests.clinical.heads import ALL_POINTS as LANDMARKS
from tests.clinical.heads import SPACINGS_MM, heads

SIZE_PX = (2000, 2600)
FILMS = heads()


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=str)
def test_measures_of_a_film_that_lies_otherwise(orientation: Orientation) -> None:
    films, spacings_mm = orientation.to_film(FILMS, SIZE_PX), np.array(SPACINGS_MM)
    for function in (measure, classify):
        np.testing.assert_allclose(
            function(films, spacings_mm, LANDMARKS),
            function(FILMS, spacings_mm, LANDMARKS),
            rtol=1e-9,
        )
    for name in analysis_names():
        analysis = analysis_named(name).of_set(LANDMARKS)
        values = analysis.values(films, spacings_mm, LANDMARKS)
        expected = analysis.values(FILMS, spacings_mm, LANDMARKS)
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=str)
def test_the_face_is_upright_and_looks_right(orientation: Orientation) -> None:
    """The distances from sella are those on the upright film."""
    righted = upright(orientation.to_film(FILMS, SIZE_PX), LANDMARKS)
    sella = LANDMARKS.abbreviations.index("S")
    from_sella, expected = (points - points[:, [sella]] for points in (righted, FILMS))
    np.testing.assert_allclose(from_sella, expected, atol=1e-9)


def test_a_film_without_nasion_is_taken_for_upright() -> None:
    points_px = np.random.default_rng(0).uniform(0, 2000, (19, 2))
    points_px[1] = np.nan
    np.testing.assert_array_equal(upright(points_px, ISBI2015), points_px)
