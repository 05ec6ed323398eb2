"""Tests the search for films in files and folders, and the uniqueness of their names."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cephray.data.films import read_film
from cephray.data.search import FilmFile, _in_its_folder, find_films
from cephray.errors import InputError
from tests.data.dicom.test_decode import film


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(*paths: Path, leave_out: Path | None = None) -> list[str]:
    return [film.name for film in find_films(paths, leave_out)]


def test_folders_are_searched_with_their_sub_folders(tmp_path: Path) -> None:
    touch(tmp_path, "b.PNG", "a.jpg", "notes.txt", "clinic/x/a.tif", "clinic/a.dcm", ".hidden.png")
    touch(tmp_path, ".git/c.png", "clinic/._a.png", "DICOMDIR")
    assert names(tmp_path) == ["a", "b", "clinic/a", "clinic/x/a"]
    assert find_films([tmp_path])[2] == FilmFile("clinic/a", tmp_path / "clinic/a.dcm")


def test_dicom_files_are_recognised_by_their_content(tmp_path: Path) -> None:
    dataset = film(np.zeros((4, 4), np.uint8))
    for name in ("IM0001", "1.2.840.113619.55", "1.2.840.113619.56", "DICOMDIR", "x.ima"):
        dataset.save_as(tmp_path / name, enforce_file_format=True)
    touch(tmp_path, "README", "short")
    assert names(tmp_path) == ["1.2.840.113619.55", "1.2.840.113619.56", "IM0001", "x.ima"]


def test_files_and_folders_can_be_mixed(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.png", "two/b.png", "any.name")
    assert names(tmp_path / "two", tmp_path / "one/a.png") == ["b", "a"]
    assert names(tmp_path / "any.name") == ["any.name"]
    assert names(tmp_path / "one/a.png", tmp_path / "one", tmp_path) == ["a", "two/b"]


UNIQUE_NAMES: dict[str, tuple[list[str], list[str]]] = {
    "one name": (["same.png", "same.jpg", "web.webp"], ["same.jpg", "same.png", "web"]),
    "three": (["a.bmp", "a.jpg", "a.tif", "b.tif"], ["a.bmp", "a.jpg", "a.tif", "b"]),
    "capitals": (["A.png", "a.png"], ["films/A.png", "films/a.png-2"]),
    "capitals of a suffix": (["a.PNG", "a.png"], ["films/a.PNG", "films/a.png-2"]),
    "capitals of a folder": (["X/a.png", "x/a.jpg"], ["X/a.png", "x/a.jpg"]),
    "sub-folders": (["a.png", "x/a.png", "y/a.png"], ["a", "x/a", "y/a"]),
    "sub-folder of one name": (["x/a.png", "x/a.jpg", "a.png"], ["a", "x/a.jpg", "x/a.png"]),
    "a suffix as a name": (
        ["a.jpg", "a.png", "a.png.png"], ["a.jpg", "films/a", "films/a.png"],
    ),
    "a name like a table": (["landmarks.png", "measurements.png"], ["landmarks", "measurements"]),
    "a folder like a table": (
        ["landmarks.csv/a.png", "Measurements.CSV/b.png"],
        ["Measurements.CSV-2/b", "landmarks.csv-2/a"],
    ),
    "a folder like a result": (
        ["x.tif", "x.png/a.tif", "x.png/b.tif", "y/x.json/a.png", "y/x.tif"],
        ["x", "x.png-2/a", "x.png-2/b", "y/x", "y/x.json-2/a"],
    ),
    "accents": (["e\u0301.png", "\u00e9.png"], ["films/e\u0301.png", "films/\u00e9.png-2"]),
}  # fmt: skip


@pytest.mark.parametrize("case", UNIQUE_NAMES)
def test_every_film_has_a_unique_name(tmp_path: Path, case: str) -> None:
    """Only the names of films with equal names change."""
    files, expected = UNIQUE_NAMES[case]
    touch(tmp_path, *(f"films/{file}" for file in files))
    found = names(tmp_path / "films")
    assert found == expected
    assert len({name.casefold() for name in found}) == len(files)


def test_films_with_the_same_name_in_two_folders(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.png", "two/a.png", "two/b.png", "deep/one/a.png")
    assert names(tmp_path / "one", tmp_path / "one/a.png") == ["a"]
    assert names(tmp_path / "one", tmp_path / "two") == ["one/a", "two/a", "b"]
    assert names(tmp_path / "one/a.png", tmp_path / "two/a.png") == ["one/a", "two/a"]
    assert names(tmp_path / "one", tmp_path / "deep/one") == ["one/a.png", "one/a.png-2"]


@pytest.mark.parametrize("output", [".", "out"])
def test_results_stay_in_the_output_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    """This holds for films with the same name that are given by paths with `..`."""
    touch(tmp_path, "one/a.png", "two/a.png", "one/here/b.png")
    monkeypatch.chdir(tmp_path / "one/here")
    found = find_films([Path("../a.png"), Path("../../two/a.png")])
    assert [film.name for film in found] == ["one/a", "two/a"]
    results = (Path(output, film.name).resolve() for film in found)
    assert all(path.is_relative_to(Path(output).resolve()) for path in results)


def test_a_film_in_the_root_folder_gets_no_folder_name() -> None:
    assert _in_its_folder(Path("/a.png"), "a") == "a"


def test_other_files_are_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "notes.txt", "x/more.TXT", "x/film.gif", "README", ".hidden.txt")
    left_out: list[str] = []
    find_films([tmp_path], on_other=lambda path: left_out.append(path.name))
    assert sorted(left_out) == ["README", "film.gif", "more.TXT", "notes.txt"]


def test_earlier_results_are_not_searched(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "out/a.png", "out/deep/b.png")
    assert names(tmp_path, leave_out=tmp_path / "out") == ["a"]
    (tmp_path / "link").symlink_to(tmp_path / "out")
    assert names(tmp_path, leave_out=tmp_path / "link") == ["a"]


def test_missing_paths_and_folders_without_films_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none: there is no such film or folder"):
        find_films([tmp_path / "none"])
    touch(tmp_path, "notes.txt")
    message = "no film in this folder or its sub-folders; known formats: .bmp"
    with pytest.raises(InputError, match=message):
        find_films([tmp_path])


def test_a_pipe_is_refused_as_a_film(tmp_path: Path) -> None:
    """Reading it would block for ever."""
    os.mkfifo(tmp_path / "film.png")
    os.mkfifo(tmp_path / "other")
    assert names(tmp_path) == ["film"]
    with pytest.raises(InputError, match="is a device or a pipe"):
        read_film(tmp_path / "film.png")
