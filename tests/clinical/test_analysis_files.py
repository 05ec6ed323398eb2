"""Files of analyses: those that come with cephray, own ones, and what is wrong in a file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cephray.clinical import MEASUREMENTS, analysis_named, analysis_names
from cephray.clinical.analysis_files import parse_analysis
from cephray.errors import InputError
from cephray.landmarks import ISBI2015, LandmarkSet
from tests.clinical.heads import ALL_POINTS, heads

OWN: dict[str, Any] = {
    "name": "own",
    "title": "Our clinic",
    "source": "ourselves",
    "measures": [
        {
            "name": "SNA",
            "title": "maxilla",
            "unit": "degree",
            "construction": "angle",
            "points": ["S", "N", "A"],
            "norms": [{"mean": 82, "sd": 3.5, "for": "women", "source": "a book"}, {"mean": 83}],
        },
        {
            "name": "height",
            "title": "height of the face",
            "unit": "mm",
            "construction": "length",
            "points": ["N", ["Me", "Gn"]],
            "sign": "never negative",
        },
        {
            "name": "base",
            "title": "cranial base",
            "unit": "mm",
            "construction": "length",
            "points": ["S", "N"],
        },
        {
            "name": "base/height",
            "title": "base to height",
            "unit": "percent",
            "construction": "ratio",
            "of": ["base", "height"],
        },
    ],
}


def write(tree: Any, folder: Path) -> str:
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    return str(path)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    own = analysis_named(write(OWN, tmp_path))
    assert (own.name, own.title) == ("own", "Our clinic")
    women, other = own.measures[0].norms
    assert (women.mean, women.sd, women.group, women.source) == (82, 3.5, "women", "a book")
    assert (other.mean, other.sd, other.group, other.source) == (83, None, "", "ourselves")
    assert own.points_of(own.measures[3]) == ("S", "N", "Me", "Gn")
    head = heads()[0]
    at = dict(zip(ALL_POINTS.abbreviations, head, strict=True))
    height = np.hypot(*((at["Me"] + at["Gn"]) / 2 - at["N"]))
    base = np.hypot(*(at["S"] - at["N"]))
    values = own.values(head, 0.1, ALL_POINTS)
    assert values[1:] == pytest.approx([0.1 * height, 0.1 * base, 100 * base / height])


def test_the_included_analyses_are_whole() -> None:
    assert analysis_names() == [
        "bjork", "burstone", "downs", "eastman", "jarabak", "mcnamara", "ricketts", "steiner",
        "tweed", "wits",
    ]  # fmt: skip
    for name in analysis_names():
        found = analysis_named(name)
        assert found.name == name
        for measure in found.measures:
            assert measure.title
            assert all(ALL_POINTS.find(point) is not None for point in found.points_of(measure))
            if measure.construction in ("turn", "from_line", "along", "across", "along_bisector"):
                assert measure.sign, measure.name  # else nobody knows what a positive value means
            for norm in measure.norms:
                assert norm.source


def test_fma_is_measured_against_the_frankfort_horizontal() -> None:
    for name in ("downs", "tweed", "mcnamara", "ricketts"):
        found = analysis_named(name)
        [fma] = [measure for measure in found.measures if measure.name == "FMA"]
        assert found.points_of(fma) == ("Po", "Or", "Go", "Me")
    assert "FMA" not in [measurement.name for measurement in MEASUREMENTS]


def changed(number: int, **values: Any) -> dict[str, Any]:
    """Return the own analysis with changes of a measure. A key that is None is removed."""
    tree = copy.deepcopy(OWN)
    entry = tree["measures"][number] | values
    tree["measures"][number] = {key: one for key, one in entry.items() if one is not None}
    return tree


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"name": "own"}, "analysis: 'measures' is missing"),
        ({**OWN, "colour": "red"}, "analysis: unknown key 'colour'; valid keys: measures, name,"),
        ({**OWN, "title": 7}, "title: must be a text; got 7"),
        ({**OWN, "measures": []}, "measures: is empty; an analysis needs at least one measure"),
        ({**OWN, "measures": ["SNA"]}, "measures, entry 1: must map keys to values; got 'SNA'"),
        (changed(0, name=False), "measures, entry 1, name: must be a text; got False (YAML reads"),
        (changed(1, name="SNA"), "measures, entry 2: the name 'SNA' occurs twice"),
        (changed(0, colour="red"), "measures, entry 1: unknown key 'colour'; valid keys: constr"),
        (changed(0, unit="inch"), "'SNA', unit: must be one of degree, mm, ratio, percent; got"),
        (changed(0, unit="mm"), "measure 'SNA', unit: must be degree here; got 'mm'"),
        (changed(3, unit="mm"), "'base/height', unit: must be ratio or percent here; got 'mm'"),
        (changed(0, construction="arc"), "measure 'SNA', construction: must be one of angle, be"),
        (changed(0, points=None), "measure 'SNA': construction 'angle' takes 'points', not 'of'"),
        (changed(3, points=["S"]), "'base/height': construction 'ratio' takes 'of', not 'points'"),
        (changed(0, points=["S", "N"]), "takes 3 (point, vertex, point); got 2"),
        (changed(0, points="SNA"), "measure 'SNA', points: must be a list; got 'SNA'"),
        (changed(0, points=["S", "N", []]), "points, entry 3: is empty; give the landmarks whose"),
        (changed(0, points=["S", "N", 3]), "measure 'SNA', points, entry 3: must be a text; got"),
        (changed(0, turned_deg=7), "measure 'SNA': turned_deg is for turn, along, across only"),
        (changed(3, of=["base", "FMA"]), "no measure before it is called 'FMA'; those are SNA, h"),
        (changed(3, of=["base"]), "construction 'ratio' takes two measures; got 1"),
        (changed(3, of=["base", "SNA"]), "of: measures must have the same unit; got degree, mm"),
        (changed(0, norms=[{"sd": 3}]), "measure 'SNA', norms, entry 1: 'mean' is missing"),
        (changed(0, norms=[{"mean": "80"}]), "mean: must be a number, with a decimal point; got"),
        (changed(0, norms=[{"mean": 1, "sd": 0}]), "norms, entry 1, sd: must be above 0; got 0"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tree: Any, said: str, tmp_path: Path) -> None:
    path = write(tree, tmp_path)
    with pytest.raises(InputError) as caught:
        analysis_named(path)
    assert str(caught.value).startswith(f"analysis {path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_and_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown analysis 'holdaway'; give bjork, .*, or the p"):
        analysis_named("holdaway")
    with pytest.raises(InputError, match=r"analysis .*none\.yaml: cannot be read"):
        analysis_named(str(tmp_path / "none.yaml"))
    with pytest.raises(InputError, match=r"must map keys to values; got \['SNA'\]"):
        analysis_named(write(["SNA"], tmp_path))


def test_combinations_of_ratios_are_refused() -> None:
    tree = copy.deepcopy(OWN)
    again = {
        **tree["measures"][3],
        "name": "twice",
        "construction": "sum",
        "of": ["base/height"] * 2,
    }
    tree["measures"].append(again)
    with pytest.raises(InputError, match="combines degrees or millimetres only; got percent"):
        parse_analysis(tree)


def test_a_set_without_the_points_is_refused() -> None:
    few = LandmarkSet("few", ISBI2015.landmarks[:3])
    with pytest.raises(InputError, match=r"'tweed': landmark set 'few' has no Po, Go, Me, LIA, "):
        analysis_named("tweed").values(np.ones((3, 2)), 0.1, few)
    assert analysis_named("tweed").of_set(few).values(np.ones((4, 3, 2)), 0.1, few).shape == (4, 0)
    with pytest.raises(ValueError, match=r"must have shape \[\.\.\., 19, 2\]"):
        analysis_named("tweed").of_set(ISBI2015).values(np.ones((18, 2)))
