"""Data sets and films in an object store are read as those in a folder are."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from cephray.config import DataConfig
from cephray.data import find_copies, find_films, read_dataset, read_film, write_dataset
from cephray.data.known_copies import KnownCopies
from cephray.errors import InputError, RunError
from cephray.prediction.files import require_own_output
from cephray.storage import RemotePath, place
from tests.conftest import Store

SPACINGS = "film,spacing_mm\n" + "".join(f"{number:03d},0.{number}\n" for number in range(1, 7))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw six films, three in Test1; 002 is 005 again."""
    folder = tmp_path_factory.mktemp("data") / "films"
    write_dataset(folder, 6, size_px=(242, 300))
    paths = {path.stem: path for path in folder.rglob("*.png")}
    shutil.copy(paths["002"], paths["005"])
    (folder / "spacing.csv").write_text(SPACINGS)
    (folder / "Dataset/Training/.hidden.png").write_text("hidden")
    (folder / "Dataset/notes.txt").write_text("no film")
    return folder


@pytest.fixture(scope="module")
def remote(store: Store, folder: Path) -> RemotePath:
    there = place(store.uri("a data set"))
    assert isinstance(there, RemotePath)
    there.upload(folder)
    return there


def test_the_records_are_those_of_the_folder(folder: Path, remote: RemotePath) -> None:
    for split in ("train", "test1", "all"):
        here, there = (read_dataset(where, split, DataConfig()) for where in (folder, remote))
        assert len(here) == (6 if split == "all" else 3)
        for one, other in zip(here, there, strict=True):
            assert (one.film, one.spacing_mm, one.split) == (
                other.film,
                other.spacing_mm,
                other.split,
            )
            assert one.readers_px.keys() == other.readers_px.keys() == {"senior", "junior"}
            np.testing.assert_array_equal(one.landmarks_px, other.landmarks_px)
            image = read_film(other.image_path).image
            np.testing.assert_array_equal(image, read_film(one.image_path).image)


def test_films_are_found_with_the_same_names(
    folder: Path, remote: RemotePath, tmp_path: Path
) -> None:
    others: list[str] = []
    there = find_films([remote], on_other=lambda path: others.append(path.name))
    here = find_films([folder])
    assert [film.name for film in there] == [film.name for film in here]
    assert [film.name for film in there][:2] == [
        "Dataset/Testing/Test1/004",
        "Dataset/Testing/Test1/005",
    ]
    assert "notes.txt" in others
    assert ".hidden.png" not in others
    out = remote / "Dataset/Testing"
    assert len(find_films([remote], leave_out=out)) == 3
    for around in (remote, remote.parent):  # these are no sub-folders
        assert len(find_films([remote], leave_out=around)) == 6
    [single] = find_films([there[0].path])
    assert single.name == "004"


def test_a_dicom_file_of_any_name_is_found(store: Store) -> None:
    there = place(store.uri("disc"))
    assert isinstance(there, RemotePath)
    (there / "1.2.840").write_bytes(b"\0" * 128 + b"DICM" + b"rest")
    (there / "readme").write_bytes(b"short")
    assert [film.name for film in find_films([there])] == ["1.2.840"]


def test_copies_are_found_and_remembered(folder: Path, remote: RemotePath) -> None:
    paths = [record.image_path for record in read_dataset(remote, "all", DataConfig())]
    assert find_copies(paths) == [(1, 4)]
    known = KnownCopies()
    looked: list[int] = []

    def look() -> list[tuple[int, int]]:
        looked.append(1)
        return []

    known.find(paths, look)
    known.find(paths, look)
    assert len(looked) == 1
    first = paths[0]
    assert isinstance(first, RemotePath)
    content = first.read_bytes()
    first.write_bytes(content + b"changed")
    known.find(paths, look)
    first.write_bytes(content)
    assert len(looked) == 2


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        (
            "a data set/Dataset",
            "no known layout and no annotations: found Testing, Training, notes.txt",
        ),
        ("nothing", "does not exist"),
        ("", r"is one level too high; give s3://films/a%20data%20set"),
        ("a data set/spacing.csv", "is no file of annotations"),
    ],
)
def test_what_is_no_data_set_is_refused(
    inside: str, said: str, store: Store, remote: RemotePath
) -> None:
    with pytest.raises(InputError, match=said):
        read_dataset(place(store.uri(inside)), "train", DataConfig())


def test_a_film_that_is_missing_or_damaged(store: Store, remote: RemotePath) -> None:
    with pytest.raises(InputError, match=r"film s3://films/a data set/lost.png.* does not ex"):
        read_film(remote / "lost.png")
    with pytest.raises(InputError, match="does not exist"):
        read_film(remote / "Dataset")  # a folder
    whole = cv2.imencode(".png", np.zeros((50, 40), np.uint8))[1].tobytes()
    broken = place(store.uri("broken.png"))
    assert isinstance(broken, RemotePath)
    broken.write_bytes(whole[:40])
    with pytest.raises(InputError, match="is cut off after 40 bytes"):
        read_film(broken.uri)
    with pytest.raises(InputError, match="there is no such film or folder"):
        find_films([remote / "lost.png"])


def test_a_store_that_refuses(store: Store, remote: RemotePath) -> None:
    with store.closed(), pytest.raises((InputError, RunError), match=r"^[^\n]*s3://films[^\n]*$"):
        read_dataset(remote, "train", DataConfig())


def test_results_would_overwrite_a_film_however_it_is_written(store: Store) -> None:
    out = RemotePath(store.uri("a%20folder"))
    film = RemotePath(store.uri("a folder/one film.png"))
    film.write_bytes(b"film")
    with pytest.raises(InputError, match="the results would overwrite film s3://films/a folder"):
        require_own_output(out, find_films([film]))
    require_own_output(out / "found", find_films([film]))
