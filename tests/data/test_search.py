from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cephray.data.films import read_original
from cephray.data.search import FilmFile, find_films
from cephray.errors import InputError
from tests.data.test_dicom import film


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(*paths: Path, leave_out: Path | None = None) -> list[str]:
    return [film.name for film in find_films(paths, leave_out)]


def test_folders_are_searched_to_the_bottom(tmp_path: Path) -> None:
    touch(tmp_path, "b.PNG", "a.jpg", "notes.txt", "clinic/x/a.tif", "clinic/a.dcm", ".hidden.png")
    touch(tmp_path, ".git/c.png", "clinic/._a.png", "DICOMDIR")
    assert names(tmp_path) == ["a", "b", "clinic/a", "clinic/x/a"]
    assert find_films([tmp_path])[2] == FilmFile("clinic/a", tmp_path / "clinic/a.dcm")


def test_dicom_files_are_known_by_their_content(tmp_path: Path) -> None:
    dataset = film(np.zeros((4, 4), np.uint8))
    for name in ("IM0001", "1.2.840.113619.55", "1.2.840.113619.56", "DICOMDIR", "x.ima"):
        dataset.save_as(tmp_path / name, enforce_file_format=True)
    touch(tmp_path, "README", "short")
    assert names(tmp_path) == ["1.2.840.113619.55", "1.2.840.113619.56", "IM0001", "x.ima"]


def test_files_and_folders_mix(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.png", "two/b.png", "any.name")
    assert names(tmp_path / "two", tmp_path / "one/a.png") == ["b", "a"]
    assert names(tmp_path / "any.name") == ["any.name"]
    assert names(tmp_path / "one/a.png", tmp_path / "one", tmp_path) == ["a", "two/b"]


def test_films_of_one_name(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.png", "two/a.png", "both/a.png", "both/a.jpg")
    assert names(tmp_path / "one", tmp_path / "one/a.png") == ["a"]
    with pytest.raises(InputError, match=r"two/a.png and .*one/a.png would write the same .*both"):
        find_films([tmp_path / "one", tmp_path / "two"])
    with pytest.raises(InputError, match=r"both/a\.png and .*both/a\.jpg would write"):
        find_films([tmp_path / "both"])


def test_earlier_results_are_no_films(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "out/a.png", "out/deep/b.png")
    assert names(tmp_path, leave_out=tmp_path / "out") == ["a"]
    (tmp_path / "link").symlink_to(tmp_path / "out")
    assert names(tmp_path, leave_out=tmp_path / "link") == ["a"]


def test_what_cannot_be_searched(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none: no such film or folder"):
        find_films([tmp_path / "none"])
    touch(tmp_path, "notes.txt")
    with pytest.raises(InputError, match=r"no film in this folder or below; known kinds: .bmp"):
        find_films([tmp_path])


def test_a_pipe_is_no_film(tmp_path: Path) -> None:
    """Reading it would wait for ever."""
    os.mkfifo(tmp_path / "film.png")
    os.mkfifo(tmp_path / "other")
    assert names(tmp_path) == ["film"]
    with pytest.raises(InputError, match="is a device or a pipe"):
        read_original(tmp_path / "film.png")
