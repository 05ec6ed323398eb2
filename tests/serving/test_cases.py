from __future__ import annotations

import errno
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cephray.config import load_config
from cephray.data import read_dataset, read_pixels
from cephray.data.synthetic.draw import draw_film
from cephray.errors import InputError
from cephray.landmarks import ISBI2015, landmark_set
from cephray.serving.case import Found, points_of, radii_of, safe_name, shown_name
from cephray.serving.cases import (
    CaseFolder,
    ConflictError,
    NoCaseError,
    Pictures,
    SaveError,
    Window,
)
from tests.serving.server import SIZE_PX, facts

IMAGE, POINTS = draw_film(np.random.default_rng(0), SIZE_PX)
PICTURES = Pictures.of(IMAGE)
FOUND = Found(facts(POINTS), "included")


@pytest.fixture
def folder(tmp_path: Path) -> CaseFolder:
    return CaseFolder(tmp_path / "cases", ISBI2015)


@pytest.fixture
def case(folder: CaseFolder) -> dict[str, Any]:
    return folder.add("one.png", PICTURES, FOUND)


def test_a_case_is_read_as_it_was_added(folder: CaseFolder, case: dict[str, Any]) -> None:
    assert folder.names() == ["one"]
    assert folder.read("one") == case
    assert case["revision"] == 1
    assert np.allclose(points_of(case), POINTS, atol=0.006)
    assert radii_of(case).tolist() == [3.0 + k for k in range(19)]
    assert not any(point["corrected"] for point in case["landmarks"])
    assert (read_pixels(folder.film("one")) == IMAGE).all()
    assert read_pixels(folder.thumbnail("one")).shape == (240, 194)
    [summary], damaged = folder.summaries()
    assert (summary["title"], summary["corrected"], damaged) == ("one.png", 0, [])


def test_the_same_film_is_the_same_case(folder: CaseFolder, case: dict[str, Any]) -> None:
    assert folder.add("other.png", PICTURES, FOUND) == case
    other = Pictures.of(255 - IMAGE)
    assert folder.add("one.bmp", other, FOUND)["film"] == "one-2"
    assert folder.names() == ["one", "one-2"]


def test_a_corrected_point_loses_what_the_network_said_of_it(
    folder: CaseFolder, case: dict[str, Any]
) -> None:
    points = case["automatic"]["points_px"]
    moved = [[10.0, 20.0], None, *points[2:]]
    changed = folder.change("one", 1, {"points_px": moved})
    assert changed["revision"] == 2
    assert changed["landmarks"][0] == {
        "name": "Sella", "x_px": 10.0, "y_px": 20.0, "corrected": True,
    }  # fmt: skip
    assert changed["landmarks"][1]["x_px"] is None
    assert changed["landmarks"][2] == case["landmarks"][2]
    assert np.isnan(radii_of(changed)[:2]).all()
    assert folder.read("one") == changed
    back = folder.change("one", 2, {"points_px": points})
    assert back["landmarks"] == case["landmarks"]


def test_a_change_of_an_old_revision_is_refused(folder: CaseFolder, case: dict[str, Any]) -> None:
    folder.change("one", 1, {"remarks": "first"})
    with pytest.raises(ConflictError, match="changed elsewhere") as raised:
        folder.change("one", 1, {"remarks": "second"})
    assert raised.value.revision == 2
    assert folder.read("one")["remarks"] == "first"


def test_changes_of_one_window_are_no_conflict(folder: CaseFolder, case: dict[str, Any]) -> None:
    folder.change("one", 1, {"remarks": "first"}, Window("a", 1))
    # Its window closes before the answer comes: the next change has the same revision.
    last = folder.change("one", 1, {"remarks": "second"}, Window("a", 2))
    assert (last["revision"], last["remarks"]) == (3, "second")
    for window in (Window("b", 7), None):
        with pytest.raises(ConflictError):
            folder.change("one", 1, {"remarks": "third"}, window)
    folder.change("one", 3, {"remarks": "fourth"}, Window("b", 8))
    with pytest.raises(ConflictError):  # another window was in between
        folder.change("one", 3, {"remarks": "fifth"}, Window("a", 3))
    assert folder.read("one")["remarks"] == "fourth"


def test_a_change_that_is_overtaken_is_left_out(folder: CaseFolder, case: dict[str, Any]) -> None:
    folder.change("one", 1, {"remarks": "second"}, Window("a", 2))
    first = folder.change("one", 1, {"remarks": "first"}, Window("a", 1))
    assert (first["revision"], first["remarks"]) == (2, "second")
    assert folder.read("one") == first


def test_a_prediction_between_the_changes_of_a_window_is_a_conflict(
    folder: CaseFolder, case: dict[str, Any]
) -> None:
    folder.change("one", 1, {"remarks": "first"}, Window("a", 1))
    folder.replace_automatic("one", FOUND)
    with pytest.raises(ConflictError):
        folder.change("one", 2, {"remarks": "second"}, Window("a", 2))


def test_a_ruler_gives_the_spacing(folder: CaseFolder, case: dict[str, Any]) -> None:
    ruler = {"points_px": [[100, 100], [130, 140]], "length_mm": 20}
    changed = folder.change("one", 1, {"ruler": ruler})
    assert changed["spacing_mm"] == pytest.approx(20 / 50)
    assert changed["spacing_source"] == "ruler"
    back = folder.change("one", 2, {"ruler": None})
    assert (back["spacing_mm"], back["spacing_source"]) == (case["spacing_mm"], "--spacing")


def test_a_checked_film_is_not_doubtful(folder: CaseFolder) -> None:
    found = Found(facts(POINTS, doubtful=["the film has hardly any contrast"]), "included")
    case = folder.add("one.png", PICTURES, found)
    assert case["doubtful"] == ["the film has hardly any contrast"]
    assert folder.change("one", 1, {"checked": True})["doubtful"] == []
    assert folder.change("one", 2, {"checked": False})["doubtful"] == case["doubtful"]


def test_another_network_moves_no_corrected_point(
    folder: CaseFolder, case: dict[str, Any]
) -> None:
    points = case["automatic"]["points_px"]
    folder.change("one", 1, {"points_px": [[10.0, 20.0], None, *points[2:]]})
    case = folder.replace_automatic("one", Found(facts(POINTS + 5), "taught"))
    assert case["automatic"]["checkpoint"] == "taught"
    found = points_of(case)
    assert found[0].tolist() == [10, 20]
    assert np.isnan(found[1]).all()
    assert np.allclose(found[2:], POINTS[2:] + 5, atol=0.006)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points_px": [[1, 2]]}, "list of 19 points"),
        ({"points_px": "x"}, "list of 19 points"),
        ({"points_px": [[1, math.nan]] * 19}, "point Sella must be two numbers"),
        ({"points_px": [[1, math.inf]] * 19}, "point Sella must be two numbers"),
        ({"points_px": [[1, 1e9]] * 19}, "point Sella must be two numbers"),
        ({"points_px": [[1, True]] * 19}, "point Sella must be two numbers"),
        ({"points_px": [[1, 2, 3]] * 19}, "point Sella must be two numbers"),
        ({"ruler": {"points_px": [[1, 1], [1, 2]], "length_mm": 10}}, "lie on one another"),
        ({"ruler": {"points_px": [[1, 1], [9, 9]], "length_mm": 0}}, "length_mm"),
        ({"ruler": {"points_px": [[1, 1], [5, 5]], "length_mm": 100}}, "cannot be right"),
        ({"ruler": {"points_px": [[1, 1]], "length_mm": 10}}, "two points"),
        ({"ruler": [1]}, "ruler must be null"),
        ({"checked": 1}, "true or false"),
        ({"patient": "x" * 2001}, "at most 2000"),
        ({"film": "other"}, "no 'film' to change"),
    ],
)
def test_a_change_that_is_not_valid_changes_nothing(
    folder: CaseFolder, case: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        folder.change("one", 1, changes)
    assert folder.read("one") == case


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../one", "one/..", "/etc/passwd", "one.json", "a" * 81, "o\0ne", "é"]
)
def test_no_name_leads_out_of_the_folder(
    folder: CaseFolder, case: dict[str, Any], name: str
) -> None:
    for ask in (folder.read, folder.film, folder.thumbnail, folder.remove):
        with pytest.raises(NoCaseError, match="no case"):
            ask(name)


@pytest.mark.parametrize(
    ("title", "name", "shown"),
    [
        ("001.png", "001", "001.png"),
        ("../../etc/passwd", "passwd", "passwd"),
        ("C:\\films\\Müller, A.dcm", "Muller-A", "Müller, A.dcm"),
        ("<script>alert(1)</script>.png", "script", "script>.png"),
        ("\u202ea\x00b\n.png", "ab", "ab.png"),
        ("...", "film", "..."),
        ("", "film", "film"),
        ("片.png", "film", "片.png"),
        ("a" * 500, "a" * 70, "a" * 120),
    ],
)
def test_names_of_films_become_safe(title: str, name: str, shown: str) -> None:
    assert safe_name(title) == name
    assert shown_name(title) == shown
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", safe_name(title))


def test_one_process_uses_a_folder(folder: CaseFolder) -> None:
    with pytest.raises(InputError, match="another `cephray serve` uses this folder"):
        CaseFolder(folder.folder, ISBI2015)
    folder.close()
    CaseFolder(folder.folder, ISBI2015).close()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        CaseFolder(tmp_path / "file", ISBI2015)


def test_a_damaged_file_is_named_and_the_others_are_shown(
    folder: CaseFolder, case: dict[str, Any]
) -> None:
    (folder.folder / "two.json").write_text('{"revision": 1')
    (folder.folder / "three.json").write_text("[]")
    (folder.folder / "copy.json").write_bytes((folder.folder / "one.json").read_bytes())
    points = [{"name": point["name"]} for point in case["landmarks"]]
    (folder.folder / "four.json").write_text(
        json.dumps(case | {"film": "four", "landmarks": points})
    )
    shown, damaged = folder.summaries()
    assert [one["film"] for one in shown] == ["one"]
    assert len(damaged) == 4
    assert all("is no file of a case" in line for line in damaged)


def test_only_files_that_changed_are_read_again(
    folder: CaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    true_read = folder._index._read
    monkeypatch.setattr(folder._index, "_read", lambda name: read.append(name) or true_read(name))  # type: ignore[func-returns-value]
    for number in range(3):
        folder.add(f"film-{number}.png", Pictures.of(IMAGE + number), FOUND)
    assert len(folder.summaries()[0]) == 3
    read.clear()
    assert len(folder.summaries()[0]) == 3
    assert folder.add("again.png", Pictures.of(IMAGE), FOUND)["film"] == "film-0"
    assert read == []
    # Another program changes a file, removes one and adds one.
    changed = folder.read("film-1") | {"remarks": "by hand", "patient": "other"}
    (folder.folder / "film-1.json").write_text(json.dumps(changed))
    (folder.folder / "film-2.json").unlink()
    (folder.folder / "film-3.json").write_text(
        json.dumps(folder.read("film-0") | {"film": "film-3"})
    )
    shown, _ = folder.summaries()
    assert [(one["film"], one["patient"]) for one in shown] == [
        ("film-0", ""), ("film-1", "other"), ("film-3", ""),
    ]  # fmt: skip
    assert sorted(read) == ["film-1", "film-3"]


def test_cases_of_another_landmark_set_are_refused(
    folder: CaseFolder, case: dict[str, Any]
) -> None:
    folder.close()
    other = CaseFolder(folder.folder, landmark_set("aariz"))
    with pytest.raises(InputError, match=r"has the landmarks of 'isbi2015'.*--checkpoint"):
        other.read("one")


def test_what_a_killed_process_left_is_removed(folder: CaseFolder, case: dict[str, Any]) -> None:
    draft = folder.folder / ".one.json.12345"
    draft.write_text('{"half')
    folder.close()
    assert CaseFolder(folder.folder, ISBI2015).names() == ["one"]
    assert not draft.exists()


def test_other_commands_read_a_folder_of_cases(
    folder: CaseFolder, case: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from cephray.cli.__main__ import main

    output = tmp_path / "measures.json"
    folder.change("one", 1, {"points_px": [None, *case["automatic"]["points_px"][1:]]})
    assert main(["measure", str(folder.folder), "--analysis", "tweed", "--json", str(output)]) == 0
    [film] = json.loads(output.read_text())["films"]
    assert film["film"] == "one"
    fma = film["analyses"][0]["measures"][0]
    assert (fma["name"], fma["value"] is not None) == ("FMA", True)
    [record] = read_dataset(folder.folder, "all", load_config().data)
    assert record.image_path == folder.film("one")
    assert np.array_equal(record.landmarks_px, points_of(folder.read("one")), equal_nan=True)
    assert record.spacing_mm == pytest.approx(case["spacing_mm"])


def test_a_removed_case_is_gone_with_its_film(folder: CaseFolder, case: dict[str, Any]) -> None:
    film = folder.film("one")
    assert film.exists()
    folder.remove("one")
    assert folder.names() == []
    assert not film.exists()
    with pytest.raises(NoCaseError):
        folder.read("one")


def test_a_full_disk_is_said_and_nothing_is_half_there(
    folder: CaseFolder, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def flush(file: int) -> None:
        if os.fstat(file).st_size > 10_000 or ".one.json" in os.readlink(f"/proc/self/fd/{file}"):
            raise OSError(errno.ENOSPC, "No space left on device")

    before = sorted(folder.folder.rglob("*"))
    monkeypatch.setattr("cephray.storage.files.os.fsync", flush)
    with pytest.raises(SaveError, match=r"could not be saved .No space left"):
        folder.change("one", 1, {"remarks": "x"})
    with pytest.raises(SaveError, match=f"let --cases {folder.folder} be written to"):
        folder.add("two.png", Pictures.of(255 - IMAGE), FOUND)
    assert sorted(folder.folder.rglob("*")) == before
    assert folder.read("one") == case


def test_other_users_of_the_machine_cannot_read_the_films(folder: CaseFolder) -> None:
    assert folder.folder.stat().st_mode & 0o777 == 0o700
