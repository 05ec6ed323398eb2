from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cephray.clinical import analysis_named
from cephray.data import cv2, format_named
from cephray.data.convert import Labels
from cephray.data.synthetic.draw import draw_film
from cephray.errors import InputError
from cephray.landmarks import ISBI2015
from cephray.serving.case import Found, points_of
from cephray.serving.cases import CaseFolder, NoCaseError, Pictures
from cephray.serving.exports import FORMATS, export
from cephray.serving.setup import own_analyses
from tests.serving.server import OURS, SIZE_PX, SPACING_MM, facts


@pytest.fixture
def folder(tmp_path: Path) -> CaseFolder:
    """Return a folder of two cases; one has a missing point, a corrected one and a ruler."""
    folder = CaseFolder(tmp_path / "cases", ISBI2015)
    for number, name in enumerate(("one.png", "two.png")):
        image, points = draw_film(np.random.default_rng(number), SIZE_PX)
        folder.add(name, Pictures.of(image), Found(facts(points), "included"))
    points_px = folder.read("two")["automatic"]["points_px"]
    ruler = {"points_px": [[10.0, 10.0], [10.0, 60.0]], "length_mm": 20.0}
    changes = {"points_px": [[100.25, 200.5], None, *points_px[2:]], "ruler": ruler}
    folder.change("two", 1, changes)
    return folder


@pytest.mark.parametrize("to", ["csv", "coco", "cephray", "labelme"])
def test_annotations_are_read_back(to: str, folder: CaseFolder) -> None:
    form, labels = format_named(to), Labels(ISBI2015)
    exported = export(folder, ["one", "two"], to)
    files = [(exported.name, exported.content)]
    if exported.name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(exported.content)) as archive:
            files = [(name, archive.read(name)) for name in archive.namelist()]
    films = [
        film
        for name, content in files
        for film in form.parse(content.decode(), name, name.split(".")[0], "reader", labels)
    ]
    assert [film.film for film in films] == ["one", "two"]
    for film in films:
        case = folder.read(film.film)
        [marks] = film.readers_px.values()
        assert np.array_equal(marks, points_of(case), equal_nan=True)
        assert film.size_px == SIZE_PX
        assert film.spacing_mm == pytest.approx(case["spacing_mm"])
    assert films[1].spacing_mm == pytest.approx(0.4)


def test_measures_are_those_of_the_analysis(folder: CaseFolder) -> None:
    exported = export(folder, ["one", "two"], "measures", ["tweed"])
    rows = list(csv.DictReader(io.StringIO(exported.content.decode())))
    tweed = analysis_named("tweed").of_set(ISBI2015)
    assert len(rows) == 2 * len(tweed.measures)
    for film in ("one", "two"):
        case = folder.read(film)
        expected = tweed.values(points_of(case), case["spacing_mm"])
        found = [float(row["value"] or "nan") for row in rows if row["film"] == film]
        assert np.allclose(found, expected, atol=6e-4, equal_nan=True)
    everything = export(folder, ["one"], "measures")
    analyses = {
        row["analysis"] for row in csv.DictReader(io.StringIO(everything.content.decode()))
    }
    assert {"isbi2015", "steiner", "wits"} < analyses


def test_the_picture_shows_the_points(folder: CaseFolder) -> None:
    exported = export(folder, ["one"], "png")
    assert (exported.name, exported.media_type) == ("one.png", "image/png")
    picture = cv2.imdecode(np.frombuffer(exported.content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (1200, 968, 3)
    colours = picture.max(axis=-1).astype(int) - picture.min(axis=-1)
    for x, y in points_of(folder.read("one")):
        row, column = round((y + 0.5) * 2), round((x + 0.5) * 2)
        assert colours[row - 3 : row + 4, column - 3 : column + 4].max() > 100  # a yellow dot


def test_what_cannot_be_exported_is_said(folder: CaseFolder) -> None:
    with pytest.raises(InputError, match=rf"unknown format 'pdf'; formats: {', '.join(FORMATS)}"):
        export(folder, ["one"], "pdf")
    with pytest.raises(InputError, match="no cases to export"):
        export(folder, [], "csv")
    with pytest.raises(NoCaseError, match="no case 'three'"):
        export(folder, ["three"], "csv")
    with pytest.raises(InputError, match="unknown analysis 'x'"):
        export(folder, ["one"], "measures", ["x"])


def test_the_spacing_of_drawn_films_is_exported(folder: CaseFolder) -> None:
    exported = export(folder, ["one"], "labelme")
    assert f'"spacing_mm": {SPACING_MM}' in exported.content.decode()


def test_the_norm_is_that_of_the_patients_group(folder: CaseFolder) -> None:
    folder.change("two", 2, {"norms_for": "women"})
    exported = export(folder, ["one", "two"], "measures", ["mcnamara"])
    rows = list(csv.DictReader(io.StringIO(exported.content.decode())))
    found = {
        row["film"]: (row["norm"], row["norm_for"])
        for row in rows
        if row["measure"] == "A-N perpendicular"
    }
    # Which of several norms holds is not known of the first film.
    assert found == {"one": ("", ""), "two": ("0.4", "women")}


def test_an_analysis_of_the_user_is_exported_and_no_path_is_read(
    folder: CaseFolder, tmp_path: Path
) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text(OURS)
    own = own_analyses([str(file)], ISBI2015)
    for analyses in ([], ["ours"]):
        exported = export(folder, ["one"], "measures", analyses, own)
        assert ",ours,S-Go," in exported.content.decode()
    with pytest.raises(InputError, match=r"unknown analysis .*; give isbi2015, bjork"):
        export(folder, ["one"], "measures", [str(file)], own)
