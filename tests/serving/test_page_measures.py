"""The page's own measures are those of `cephray.clinical`, on random points, in a browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cephray.clinical import (
    analysis_named,
    analysis_names,
    classify,
    measure,
    standard_deviations,
)
from cephray.data.synthetic.draw import draw_film
from cephray.landmarks import ISBI2015, LandmarkSet, landmark_set
from cephray.serving.setup import describe
from tests.serving.server import make_server, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SETS = [ISBI2015, landmark_set("aariz")]
COUNT = 40

VALUES = """async ([setup, films, spacings]) => {
  const found = await import("/page/measures.js");
  return films.map((points, film) => setup.analyses.map((analysis) =>
    found.valuesOf(analysis, points, spacings[film], setup.upright).map(String)));
}"""
CHALLENGE = """async ([setup, films, spacings]) => {
  const found = await import("/page/measures.js");
  return films.map((points, film) => ["challengeValues", "challengeClasses"].map((name) =>
    found[name](setup.challenge, points, spacings[film], setup.upright).map(String)));
}"""
DEVIATIONS = """async ([setup, films, spacings, errors]) => {
  const found = await import("/page/measures.js");
  const none = errors.map((one) => one.map((value) => value ?? NaN));
  return films.map((points, film) => setup.analyses.map((analysis) => found.standardDeviations(
    (moved) => found.valuesOf(analysis, moved, spacings[film], setup.upright), points,
    none[film]).map(String)));
}"""


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with serving(make_server(tmp_path_factory.mktemp("cases"))) as address:
        opened = browser.new_page()
        opened.goto(f"{address}/page/style.css")
        yield opened
        opened.close()


def films_of(landmarks: LandmarkSet) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points [F, K, 2] and spacings [F]: heads in all orientations, and random points."""
    rng = np.random.default_rng(len(landmarks))
    films = [draw_film(rng, (484, 600), landmarks)[1] for _ in range(COUNT // 2)]
    films += [rng.uniform(0, 600, (len(landmarks), 2)) for _ in range(COUNT // 2)]
    points = np.array(films)
    for number, film in enumerate(points):
        if number % 2:
            film[:, 0] = 483 - film[:, 0]
        for _ in range(number // 2 % 4):
            film[:] = np.stack([599 - film[:, 1], film[:, 0]], axis=-1)
        if number % 3 == 2:  # missing, also where the orientation depends on it
            film[rng.integers(0, len(landmarks), 2)] = np.nan
        if number % 5 == 4:  # coincident
            film[1] = film[0]
    spacings_mm = rng.uniform(0.05, 0.5, COUNT)
    spacings_mm[::4] = np.nan
    return points, spacings_mm


def plain(points: NDArray[np.float64]) -> list[list[list[float] | None]]:
    return [[None if np.isnan(p).any() else p.tolist() for p in film] for film in points]


def nulls(values: NDArray[np.float64]) -> list[Any]:
    return json.loads(json.dumps(values.tolist()).replace("NaN", "null"))  # type: ignore[no-any-return]


@pytest.mark.parametrize("landmarks", SETS, ids=lambda one: one.name)
def test_values_are_those_of_every_analysis(landmarks: LandmarkSet, page: Page) -> None:
    points, spacings_mm = films_of(landmarks)
    setup = describe(landmarks)
    found = page.evaluate(VALUES, [setup, plain(points), nulls(spacings_mm)])
    names = [one["name"] for one in setup["analyses"]]
    assert names == analysis_names()
    known = 0
    for number, name in enumerate(names):
        analysis = analysis_named(name).of_set(landmarks)
        expected = analysis.values(points, spacings_mm, landmarks)
        measured = np.array([film[number] for film in found], np.float64)
        assert measured.shape == expected.shape
        np.testing.assert_allclose(measured, expected, rtol=1e-9, atol=1e-9, err_msg=name)
        known += int(np.isfinite(expected).sum())
    assert known > 1000


def test_the_challenge_is_measured_and_classified_as_by_python(page: Page) -> None:
    points, spacings_mm = films_of(ISBI2015)
    points[3, 10] = points[3, 11] + 0.01  # within a cell of the grid: edge to edge
    points[6, 10] = points[6, 11]
    found = page.evaluate(CHALLENGE, [describe(ISBI2015), plain(points), nulls(spacings_mm)])
    values = np.array([film[0] for film in found], np.float64)
    np.testing.assert_allclose(values, measure(points, spacings_mm), rtol=1e-9, atol=1e-9)
    classes = np.array([film[1] for film in found], np.float64)
    expected = classify(points, spacings_mm)
    assert np.array_equal(classes, expected)
    assert {0, 1, 2, 3, 4} <= set(expected.flatten().tolist())


def test_uncertainties_are_those_of_python(page: Page) -> None:
    points, spacings_mm = (one[:12] for one in films_of(ISBI2015))
    rng = np.random.default_rng(1)
    errors_px = rng.uniform(0.5, 5, points.shape[:2])
    errors_px[1::2, ::6] = np.nan  # of points that were placed by hand
    arguments = [describe(ISBI2015), plain(points), nulls(spacings_mm), nulls(errors_px)]
    found = page.evaluate(DEVIATIONS, arguments)
    known = 0
    for number, name in enumerate(analysis_names()):
        analysis = analysis_named(name).of_set(ISBI2015)
        for film in range(len(points)):
            missing = np.isnan(points[film]).any(axis=-1)
            errors = np.where(missing, 0.0, errors_px[film])
            spacing = None if np.isnan(spacings_mm[film]) else spacings_mm[film]
            expected = standard_deviations(
                partial(analysis.values, spacing_mm=spacing), points[film], errors
            )
            measured = np.array(found[film][number], np.float64)
            np.testing.assert_allclose(
                measured, expected, rtol=1e-6, atol=1e-9, err_msg=f"{name}, film {film}"
            )
            known += int(np.isfinite(expected).sum())
    assert known > 200


def test_the_description_has_every_point_of_the_sets() -> None:
    for landmarks in SETS:
        setup = describe(landmarks)
        assert [one["name"] for one in setup["landmark_set"]["landmarks"]] == list(landmarks.names)
        json.dumps(setup, allow_nan=False)
    few = LandmarkSet("few", ISBI2015.landmarks[:4])
    setup = describe(few)
    assert (setup["upright"], setup["challenge"]) == (None, None)
