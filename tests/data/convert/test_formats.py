"""Each format there and back, and as other programs write it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cephray.data.convert import (
    FORMATS,
    Format,
    Labels,
    MarkedFilm,
    format_named,
    merge_films,
    recognise_format,
)
from cephray.errors import InputError
from cephray.landmarks import ISBI2015, LandmarkSet, landmark_set
from tests.data.convert.files import COCO, CVAT, LABELS, SMALL_SET, K, parse

coordinates = st.floats(-1e4, 1e4, allow_nan=False)
points = st.one_of(st.tuples(coordinates, coordinates), st.just((float("nan"), float("nan"))))
names = st.text("abcxyz0189 ._-äß'&<", min_size=1, max_size=8).filter(
    lambda name: name.strip() == name and name.strip(".")
)


@st.composite
def marked_films(draw: st.DrawFn, count: int = 3) -> list[MarkedFilm]:
    films = []
    for name in draw(st.lists(names, min_size=1, max_size=count, unique=True)):
        readers = draw(st.lists(names, min_size=1, max_size=2, unique=True))
        ruler = draw(st.one_of(st.none(), st.lists(points, min_size=2, max_size=2)))
        is_whole = ruler is not None and not np.isnan(ruler).any()
        films.append(
            MarkedFilm(
                film=name,
                readers_px={
                    reader: np.array(draw(st.lists(points, min_size=K, max_size=K)))
                    for reader in readers
                },
                image=f"{name}.png",
                size_px=(draw(st.integers(1, 9999)), draw(st.integers(1, 9999))),
                spacing_mm=draw(st.one_of(st.none(), st.floats(1e-3, 10))),
                rulers_px={readers[0]: np.array(ruler)} if is_whole else {},
                class_labels=draw(st.one_of(st.none(), st.just((1, 3, 2)))),
                radii_95_px={readers[0]: np.array([1.5, np.nan, 0.25])}
                if draw(st.booleans())
                else {},
                doubtful={readers[0]: ("no contrast",)} if draw(st.booleans()) else {},
            )
        )
    return films


def there_and_back(films: list[MarkedFilm], one: Format, labels: Labels) -> list[MarkedFilm]:
    """Render and parse films as they are written to files and read from them."""
    if not one.is_per_film:
        return one.parse(one.render(films, labels), "file", "?", "?", labels)
    parts = []
    for film in films:
        for reader in film.readers_px:
            text = one.render([film.by(reader)], labels)
            parts += one.parse(text, "file", film.film, reader, labels)
    return merge_films(parts)


def assert_same(found: list[MarkedFilm], wanted: list[MarkedFilm]) -> None:
    assert [film.film for film in found] == [film.film for film in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.doubtful == other.doubtful
        assert (one.image, one.size_px, one.spacing_mm, one.class_labels) == (
            other.image,
            other.size_px,
            other.spacing_mm,
            other.class_labels,
        )
        for given_px, wanted_px in (
            (one.readers_px, other.readers_px),
            (one.rulers_px, other.rulers_px),
            (one.radii_95_px, other.radii_95_px),
        ):
            assert list(given_px) == list(wanted_px)
            for reader, marks in given_px.items():
                np.testing.assert_array_equal(marks, wanted_px[reader])


# What a format's files do not contain. CVAT knows no film without a mark, and no reader of it.
LOST: dict[str, dict[str, Any]] = {
    "cephray": {},
    "csv": {"class_labels": None},
    "text": {"image": None, "size_px": None, "spacing_mm": None, "rulers_px": {}},
    "labelme": {},
    "coco": {},
    "cvat": {"spacing_mm": None, "class_labels": None},
    "aariz": {"image": None, "size_px": None, "spacing_mm": None, "class_labels": None},
}


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
@settings(max_examples=60, deadline=None)
@given(films=marked_films())
def test_a_round_trip_loses_nothing(one: Format, films: list[MarkedFilm]) -> None:
    if one.name == "cvat":
        films = [
            film for film in films if all((~np.isnan(m)).any() for m in film.readers_px.values())
        ]
    predicted: dict[str, Any] = {"radii_95_px": {}, "doubtful": {}}
    predicted = {} if one.name == "cephray" else predicted
    wanted = [replace(film, **predicted, **LOST[one.name]) for film in films]
    assert_same(there_and_back(films, one, LABELS), wanted)


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
@pytest.mark.parametrize("name", ["isbi2015", "aariz"])
def test_whole_sets_are_recognised_by_their_content(one: Format, name: str) -> None:
    labels = Labels(landmark_set(name))
    marks = np.random.default_rng(0).uniform(0, 2000, (len(labels.landmarks), 2)).round(2)
    films = [MarkedFilm("a", {"x": marks}, "a.png", (1935, 2400))]
    text = one.render(films, labels)
    assert recognise_format(one.suffix, text) == one
    np.testing.assert_array_equal(
        one.parse(text, "file", "a", "x", labels)[0].readers_px["x"], marks
    )


def test_labelme_as_labelme_writes_it() -> None:
    tree = {
        "version": "5.4.1",
        "flags": {},
        "shapes": [
            {
                "label": "nasion",
                "points": [[12.5, 30.25]],
                "group_id": None,
                "description": "",
                "shape_type": "point",
                "flags": {},
                "mask": None,
            },
            {"label": "S", "points": [[1, 2]], "shape_type": "point"},
            {"label": "vertebra", "points": [[0, 0], [9, 0], [9, 9]], "shape_type": "polygon"},
        ],
        "imagePath": "..\\films\\a.png",
        "imageData": "iVBORw0K",
        "imageHeight": 2400,
        "imageWidth": 1935,
    }
    (film,) = parse("labelme", tree)
    np.testing.assert_array_equal(film.readers_px["r"], [[1, 2], [12.5, 30.25], [np.nan] * 2])
    assert (film.size_px, film.image) == ((1935, 2400), "../films/a.png")


def test_coco_as_cvat_writes_it() -> None:
    first, second = parse("coco", COCO)
    assert (first.film, second.film) == ("left/a", "right/a")
    # Not visible (1) is marked, not labelled (0) is missing; the film is kept.
    np.testing.assert_array_equal(first.readers_px["r"], [[3, 4], [np.nan] * 2, [1.5, 2.25]])
    np.testing.assert_array_equal(second.readers_px["anna"], [[7, 8], [9, 10], [5, 6]])


def test_cvat_points_and_skeletons() -> None:
    (film,) = format_named("cvat").parse(CVAT, "file", "?", "r", LABELS)
    assert (film.film, film.image, film.size_px) == ("a", "films/a.png", (1935, 2400))
    missing = [np.nan] * 2
    np.testing.assert_array_equal(film.readers_px["r"], [[10.5, 20], missing, missing])
    np.testing.assert_array_equal(film.readers_px["anna & bo"], [missing, [3.25, 4], missing])


def test_aariz_as_published() -> None:
    tree = {
        "ceph_id": "ckrws7x",
        "landmarks": [
            {
                "landmark_id": "l1",
                "title": "Pogonion soft",
                "symbol": "Pog`",
                "value": {"x": 1, "y": 2},
            },
            {"landmark_id": "l2", "title": "Nasion", "symbol": "N", "value": {"x": 3, "y": 4}},
        ],
    }
    (film,) = parse("aariz", tree)
    np.testing.assert_array_equal(film.readers_px["r"], [[np.nan] * 2, [3, 4], [1, 2]])


def test_a_table_with_semicolons_has_decimal_commas() -> None:
    text = (
        "film;landmark;x_px;y_px;spacing_mm;confidence\n"
        "a;S;1,5;2,25;0,1;0,9\na;N;3;4;0,1;\nb;turcica;;;0,2;\n"
    )
    first, second = format_named("csv").parse(text, "file", "?", "r", LABELS)
    np.testing.assert_array_equal(first.readers_px["r"], [[1.5, 2.25], [3, 4], [np.nan] * 2])
    assert (first.spacing_mm, second.spacing_mm) == (0.1, 0.2)
    assert np.isnan(second.readers_px["r"]).all()


def test_unknown_labels_may_be_ignored() -> None:
    text = "film,landmark,x_px,y_px\na,S,1,2\na,Basion,3,4\n"
    ignoring = Labels(SMALL_SET, "ignore")
    (film,) = format_named("csv").parse(text, "file", "?", "r", ignoring)
    np.testing.assert_array_equal(film.readers_px["r"][0], [1, 2])


def test_labels_that_differ_in_case_alone_are_told_apart() -> None:
    labels = Labels(
        LandmarkSet.from_tree(
            {
                "name": "lips",
                "landmarks": [
                    {"name": "Labrale inferius", "abbreviation": "LI"},
                    {"name": "Lower incisor", "abbreviation": "Li"},
                ],
            }
        )
    )
    assert "LI" in labels
    assert "Li" in labels
    assert "li" not in labels
    assert "LABRALE_INFERIUS" in labels


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".json", "{}"),
        (".json", "[1]"),
        (".json", "{"),
        (".json", '{"landmarks": []}'),
        (".csv", "a,b\n1,2"),
        (".xml", "<svg/>"),
        (".png", ""),
    ],
)
def test_other_files_are_of_no_format(suffix: str, content: str) -> None:
    assert recognise_format(suffix, content) is None


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(
        InputError, match="unknown annotation format 'yolo'; formats: cephray, csv"
    ):
        format_named("yolo")


@pytest.mark.parametrize("name", ["coco", "cvat"])
def test_a_size_is_needed_where_the_format_has_one(name: str) -> None:
    film = MarkedFilm("a", {"r": np.zeros((len(ISBI2015), 2))})
    with pytest.raises(InputError, match="film 'a': its size is needed"):
        format_named(name).render([film], Labels(ISBI2015))


def test_radii_of_a_prediction_are_read() -> None:
    landmarks = [
        {"name": "Nasion", "x_px": 1, "y_px": 2, "radius_95_px": 4.5},
        {"name": "Sella", "x_px": 3, "y_px": 4, "radius_95_px": None},
    ]
    (film,) = parse("cephray", {"landmarks": landmarks})
    ((reader, radii_px),) = film.radii_95_px.items()
    np.testing.assert_array_equal(radii_px, [np.nan, 4.5, np.nan])
    assert film.by(reader).radii_95_px.keys() == {reader}
    assert merge_films([film]) == [film]
    other = replace(film, readers_px={"other": film.readers_px[reader]}, radii_95_px={})
    assert merge_films([film, other])[0].radii_95_px.keys() == {reader}
    (film,) = parse("cephray", {"landmarks": [landmarks[1]]})
    assert film.radii_95_px == {}
    landmarks[0]["radius_95_px"] = -1
    with pytest.raises(InputError, match="landmarks 1: radius_95_px must be a number of pixels"):
        parse("cephray", {"landmarks": landmarks})
