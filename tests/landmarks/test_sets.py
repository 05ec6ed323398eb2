"""Landmark sets: those that come with cephray, and files of users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cephray.config import dump_config, load_config
from cephray.config.files import flatten
from cephray.errors import InputError
from cephray.landmarks import ISBI2015, LandmarkSet, landmark_set, landmark_set_names

OWN: dict[str, Any] = {
    "name": "own",
    "landmarks": [
        {"name": "Sella", "abbreviation": "S"},
        {"name": "Basion", "abbreviation": "Ba", "definition": "front rim of the great foramen"},
    ],
    "lines": [{"name": "Cranial base", "start": "S", "end": "Ba"}],
    "contested": ["Ba"],
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(OWN, allow_unicode=True), encoding="utf-8")
    return path


@pytest.mark.parametrize(("name", "count"), [("isbi2015", 19), ("aariz", 29)])
def test_the_sets_that_come_with_cephray(name: str, count: int) -> None:
    found = landmark_set(name)
    assert found.name == name
    assert len(found) == count
    assert all(landmark.definition for landmark in found.landmarks)
    assert name in landmark_set_names()


def test_sets_mean_the_same_by_the_same_name() -> None:
    """Heads of landmarks with the same name may be taken over from one set to another."""
    definitions = {one.name: one.definition for one in ISBI2015.landmarks}
    shared = [one for one in landmark_set("aariz").landmarks if one.name in definitions]
    assert len(shared) == 15
    for landmark in shared:
        assert landmark.definition == definitions[landmark.name]


def test_a_file_of_ones_own(own: Path) -> None:
    found = landmark_set(str(own))
    assert found.names == ("Sella", "Basion")
    assert found.lines[0].end == "Ba"
    assert found.contested == ("Ba",)
    assert LandmarkSet.from_tree(found.to_tree()) == found


def test_a_landmark_is_found_under_its_other_names() -> None:
    aariz = landmark_set("aariz")
    assert aariz.find("UI") == aariz.abbreviations.index("UIT")
    assert aariz.find("LL") == aariz.abbreviations.index("Li")  # the lip, not the incisor LIT
    assert aariz.find("LI") == aariz.abbreviations.index("LIT")
    assert ISBI2015.find("UI") == ISBI2015.abbreviations.index("UI")
    assert ISBI2015.find("Pn") is None
    own = [
        {"name": "Tip", "abbreviation": "T", "aliases": ["UI"]},
        {"name": "Lip", "abbreviation": "Lip", "aliases": ["Ls"]},
    ]
    found = LandmarkSet.from_tree({"name": "own", "landmarks": own})
    assert (found.find("UI"), found.find("UL"), found.find("LL")) == (0, 1, None)


def test_a_configuration_carries_the_set_and_not_the_path(own: Path) -> None:
    config = load_config(overrides=[f"data.landmarks={own}"])
    own.unlink()
    saved = own.with_name("config.yaml")
    saved.write_text(dump_config(config), encoding="utf-8")
    again = load_config(saved)
    assert again == config
    assert landmark_set(again.data.landmarks).abbreviations == ("S", "Ba")
    assert flatten(again)["data.landmarks"] == config.data.landmarks


def test_a_name_stays_a_name() -> None:
    assert load_config(overrides=["data.landmarks=aariz"]).data.landmarks == "aariz"


def changed(**values: Any) -> dict[str, Any]:
    return {**OWN, **values}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"name": "own"}, "landmark set: 'landmarks' is missing"),
        (changed(landmarks=[]), "landmarks: is empty; a set needs at least one landmark"),
        (changed(landmarks="S, N"), "landmarks: must be a list; got 'S, N'"),
        (changed(landmarks=["S"]), "landmarks, entry 1: must map keys to values; got 'S'"),
        (changed(colour="red"), "landmark set: unknown key 'colour'; valid keys: contested, lan"),
        (
            changed(landmarks=[*OWN["landmarks"], {"name": "Salt", "abbreviation": "S"}]),
            "landmarks: the abbreviation 'S' occurs twice",
        ),
        (
            changed(landmarks=[*OWN["landmarks"], {"name": "Sella", "abbreviation": "T"}]),
            "landmarks: the name 'Sella' occurs twice",
        ),
        (
            changed(landmarks=[{"name": "Nose", "abbreviation": False}]),
            "landmarks, entry 1, abbreviation: must be a text; got False (YAML reads yes, no",
        ),
        (
            changed(lines=[{"name": "Frankfort", "start": "Po", "end": "S"}]),
            "line 'Frankfort': no landmark has the abbreviation 'Po'",
        ),
        (changed(contested=["X"]), "contested: no landmark has the abbreviation 'X'"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(
    tree: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        landmark_set(str(path))
    assert str(caught.value).startswith(f"landmark set {path}: {message}")
    with pytest.raises(InputError) as caught:
        load_config(overrides=[f"data.landmarks={path}"])
    assert message in str(caught.value)


def test_a_file_that_is_no_yaml_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    with pytest.raises(InputError, match=r"own\.yaml: cannot be read"):
        landmark_set(str(path))
    path.write_text("a: [", encoding="utf-8")
    with pytest.raises(InputError, match=r"own\.yaml: not valid YAML: "):
        landmark_set(str(path))
    path.write_text("- S\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"own\.yaml: must map keys to values; got \['S'\]"):
        landmark_set(str(path))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"unknown landmark set 'isbi'; give aariz, isbi2015, or"):
        landmark_set("isbi")
