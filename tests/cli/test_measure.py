"""The command measure: from annotations of any format to tables and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cephray.cli.__main__ import main
from cephray.clinical import analysis_names, measure
from cephray.config import DataConfig
from cephray.data import read_dataset, write_dataset
from cephray.landmarks import ISBI2015

# Of a head whose Frankfort line is horizontal, in pixels.
POINTS = {
    "Sella": (810, 1040), "Nasion": (1400, 970), "Orbitale": (1280, 1220), "Porion": (600, 1220),
    "A-point": (1390, 1530), "B-point": (1355, 1870), "Gonion": (725, 1740),
    "Menton": (1285, 2055),
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "films"
    write_dataset(folder, 2, size_px=(242, 300))
    return folder


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    """Write a file as `cephray predict` does, of some of the landmarks."""
    landmarks = [
        {"name": name, "x_px": x, "y_px": y, "confidence": 0.9, "radius_95_px": 20.0}
        for name, (x, y) in POINTS.items()
    ]
    tree = {"film": "a", "spacing_mm": 0.1, "landmarks": landmarks, "measurements": [{}]}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


def measured(*arguments: object, output: Path) -> list[dict[str, Any]]:
    assert main(["measure", *map(str, arguments), "--json", str(output)]) == 0
    films = json.loads(output.read_text(encoding="utf-8"))["films"]
    assert isinstance(films, list)
    return films


def test_lengths_by_a_ruler(predicted: Path, tmp_path: Path) -> None:
    """200 pixels are 30 mm: 0.15 mm per pixel, and thus 1.5 times the lengths of 0.1 mm."""
    tree = json.loads(predicted.read_text(encoding="utf-8"))
    del tree["spacing_mm"]
    tree["ruler_px"] = [[100, 100], [220, 260]]
    ruled = tmp_path / "ruled.json"
    ruled.write_text(json.dumps(tree), encoding="utf-8")
    output = tmp_path / "measures.json"
    (film,) = measured(ruled, "--ruler", 30, "--analysis", "jarabak", output=output)
    (known,) = measured(predicted, "--analysis", "jarabak", output=output)
    assert film["spacing_mm"] == pytest.approx(0.15)
    (values, expected) = (
        {m["name"]: m["value"] for m in one["analyses"][0]["measures"] if m["unit"] == "mm"}
        for one in (film, known)
    )
    assert any(value is not None for value in values.values())
    for name, value in values.items():
        assert value is None or value == pytest.approx(1.5 * expected[name], abs=0.002)
    (unknown,) = measured(ruled, output=output)
    assert unknown["spacing_mm"] is None


def test_a_data_set(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    films = measured(drawn, output=tmp_path / "new" / "measures.json")
    records = read_dataset(drawn, "all", DataConfig())
    assert [(f["film"], f["reader"]) for f in films] == [
        (record.film, reader) for record in records for reader in record.readers_px
    ]
    challenge, *analyses = films[0]["analyses"]
    assert challenge["name"] == "isbi2015"
    assert [one["name"] for one in analyses] == analysis_names()
    marks = records[0].readers_px[films[0]["reader"]]
    np.testing.assert_allclose(
        [one["value"] for one in challenge["measures"]],
        measure(marks, records[0].spacing_mm),
        atol=0.001,
    )
    assert all(m["sd"] is None for one in films[0]["analyses"] for m in one["measures"])
    told = capsys.readouterr().out
    assert f"film {films[0]['film']}, senior; spacing 0.8 mm per pixel\nISBI 2015" in told
    assert "±" not in told.split("norm")[0]


def test_a_prediction_and_its_radii(
    predicted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (film,) = measured(
        "--analysis", "tweed", "--analysis", "steiner", predicted, output=tmp_path / "m"
    )
    tweed, steiner = film["analyses"]
    fma = tweed["measures"][0]
    assert fma["value"] == pytest.approx(29.358, abs=0.001)  # atan(315 / 560)
    error_px = 20 / np.sqrt(-2 * np.log(0.05))
    # Both ends of both lines move across them; the Frankfort line is 680 pixels long.
    by_hand = np.degrees(np.sqrt(2) * error_px * np.hypot(1 / 680, 1 / np.hypot(560, 315)))
    assert fma["sd"] == pytest.approx(by_hand, rel=0.01)
    by_name = {one["name"]: one for one in steiner["measures"]}
    assert by_name["SNA"]["sd"] > 0
    assert by_name["Pog-NB mm"]["value"] is None  # the file has no such landmark
    assert f"FMA       29.4  {fma['sd']:.1f}  °" in capsys.readouterr().out


def test_a_corrected_landmark_changes_the_measure(predicted: Path, tmp_path: Path) -> None:
    tree = json.loads(predicted.read_text())
    tree["landmarks"][-1]["y_px"] = 1740.0  # menton at the height of gonion
    predicted.write_text(json.dumps(tree))
    (film,) = measured("--analysis", "tweed", predicted, output=tmp_path / "m")
    assert film["analyses"][0]["measures"][0]["value"] == 0


def test_a_doubtful_prediction_has_no_classes(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = read_dataset(drawn, "all", DataConfig())[0]
    landmarks = [
        {"name": name, "x_px": x, "y_px": y, "radius_95_px": 3}
        for name, (x, y) in zip(ISBI2015.names, record.landmarks_px.tolist(), strict=True)
    ]
    for doubtful in (["it is mirrored"], []):
        tree = {"landmarks": landmarks, "doubtful": doubtful}
        (tmp_path / "a.json").write_text(json.dumps(tree))
        (film,) = measured("--analysis", "isbi2015", tmp_path / "a.json", output=tmp_path / "m")
        assert film["doubtful"] == doubtful
        assert ("DOUBTFUL: it is mirrored" in capsys.readouterr().out) == bool(doubtful)
        for one in film["analyses"][0]["measures"][:7]:
            assert (one["class"] == 0) == bool(doubtful)
            assert (one["class_probability"] is None) == bool(doubtful)
    (tmp_path / "a.json").write_text(json.dumps({**tree, "doubtful": "yes"}))
    assert main(["measure", str(tmp_path / "a.json")]) == 2
    assert "doubtful must be a list of texts" in capsys.readouterr().err


def test_the_spacing_of_the_command_comes_first(predicted: Path, tmp_path: Path) -> None:
    arguments = ("--analysis", "jarabak", predicted)
    (of_file,) = measured(*arguments, output=tmp_path / "m")
    (given,) = measured("--spacing", "0.2", *arguments, output=tmp_path / "m")
    assert (of_file["spacing_mm"], given["spacing_mm"]) == (0.1, 0.2)
    lengths = [
        {m["name"]: m["value"] for m in film["analyses"][0]["measures"]}["S-N"]
        for film in (of_file, given)
    ]
    assert lengths == pytest.approx([59.414, 118.828], abs=0.001)


def test_an_analysis_and_a_landmark_set_of_ones_own(tmp_path: Path) -> None:
    landmarks = [{"name": "Sella", "abbreviation": "S"}, {"name": "Basion", "abbreviation": "Ba"}]
    (tmp_path / "set.yaml").write_text(yaml.safe_dump({"name": "own", "landmarks": landmarks}))
    base = {"name": "S-Ba", "title": "clivus", "unit": "mm", "construction": "length"}
    own = {
        "name": "own",
        "title": "Own",
        "source": "us",
        "measures": [{**base, "points": ["S", "Ba"]}],
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    table = "film,landmark,x_px,y_px,spacing_mm\na,S,0,0,0.5\na,Ba,30,40,0.5\n"
    (tmp_path / "marks.csv").write_text(table)
    arguments = ("--landmarks", tmp_path / "set.yaml", "--analysis", tmp_path / "own.yaml")
    (film,) = measured(*arguments, tmp_path / "marks.csv", output=tmp_path / "m.json")
    assert film["analyses"][0]["measures"][0]["value"] == 25.0


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", "--list"]) == 0
    told = capsys.readouterr().out
    for name in ("isbi2015", *analysis_names()):
        assert f"{name}: " in told
    assert main(["measure", "--list", "--analysis", "wits", "--landmarks", "aariz"]) == 0
    assert capsys.readouterr().out.count(": ") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to measure; give annotation files or folders, or --list"),
        (["nowhere"], "nowhere does not exist"),
        (["{empty}"], "no annotations of a known format were found (cephray, csv, text, labelme"),
        (["--analysis", "holdaway", "{film}"], "unknown analysis 'holdaway'; give bjork, burst"),
        (["--landmarks", "afhq", "{film}"], "unknown landmark set 'afhq'"),
        (["--spacing", "0", "{film}"], "data.spacing_mm"),
    ],
)
def test_wrong_input_is_told_in_one_line(
    arguments: list[str],
    said: str,
    predicted: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    filled = [one.format(film=predicted, empty=tmp_path / "empty") for one in arguments]
    assert main(["measure", *filled]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
