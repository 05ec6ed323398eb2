"""Tests reading of data sets in all layouts, and the messages for incomplete ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cephray.config import DataConfig
from cephray.data.dataset.layouts import LAYOUTS, Layout
from cephray.data.dataset.names import first_few, natural_key
from cephray.data.dataset.records import list_films, read_dataset
from cephray.errors import InputError
from cephray.landmarks import ISBI2015

ISBI, ISBI_RAW, ISBI_FOLDERS, PKU, _ = LAYOUTS
K = len(ISBI2015)


def marks_of(film: str, reader: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return marks [K, 2] that are different for each film, reader and landmark."""
    base = float(film) + (0.5 if reader == "senior" else 0.0)
    return np.stack([np.arange(K) + base, np.full(K, base)], axis=-1)


def rows_of(film: str, reader: str) -> list[str]:
    marks: Any = marks_of(film, reader)
    return [f"{x},{y}" for x, y in marks]


def write_text(path: Path, rows: Iterable[str], newline: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(row + newline for row in rows).encode())


def write_film(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes())


def build(folder: Path, layout: Layout, films: dict[str, list[str]]) -> Path:
    for split, names in films.items():
        for name in names:
            write_film(folder / layout.images[split] / f"{name}.png")
            for reader, path in layout.annotations[split].items():
                write_text(folder / path / f"{name}.txt", rows_of(name, reader))
    return folder


@pytest.fixture
def isbi(tmp_path: Path) -> Path:
    return build(tmp_path, ISBI, {"train": ["001", "002"], "test1": ["003"]})


def message(folder: Path, split: Any = "all", **data: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_dataset(folder, split, DataConfig(**data))
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("layout", [ISBI, ISBI_RAW, ISBI_FOLDERS], ids=lambda layout: layout.name)
def test_isbi_layouts_are_read(tmp_path: Path, layout: Layout) -> None:
    folder = build(tmp_path, layout, {"train": ["2", "10", "1"], "test1": ["20"], "test2": ["30"]})
    films = {
        split: [record.film for record in read_dataset(folder, split, DataConfig())]
        for split in ("train", "test1", "test2", "all")
    }
    assert films == {
        "train": ["1", "2", "10"],
        "test1": ["20"],
        "test2": ["30"],
        "all": ["1", "2", "10", "20", "30"],
    }
    record = read_dataset(folder, "test2", DataConfig())[0]
    assert record.split == "test2"
    assert record.spacing_mm == 0.1
    assert record.image_path.is_file()
    assert record.class_labels is None
    np.testing.assert_array_equal(record.readers_px["senior"], marks_of("30", "senior"))
    np.testing.assert_array_equal(record.landmarks_px, marks_of("30", "senior") - 0.25)


def test_the_pku_layout_is_read(tmp_path: Path) -> None:
    folder = build(tmp_path, PKU, {"all": ["1", "2"]})
    records = read_dataset(folder, "all", DataConfig(reader="senior", spacing_mm=0.125))
    assert [record.split for record in records] == ["all", "all"]
    assert records[0].spacing_mm == 0.125
    np.testing.assert_array_equal(records[0].landmarks_px, marks_of("1", "senior"))
    assert "no known spacing; set data.spacing_mm" in message(folder)
    assert "has no splits; use 'all'" in message(folder, "train", spacing_mm=0.1)


@pytest.mark.parametrize("reader", ["senior", "junior"])
def test_one_reader_is_sufficient_if_it_is_configured(isbi: Path, reader: Any) -> None:
    for other, path in ISBI.annotations["train"].items():
        if other != reader:
            for file in (isbi / path).iterdir():
                file.unlink()
            (isbi / path).rmdir()
    record = read_dataset(isbi, "train", DataConfig(reader=reader))[0]
    np.testing.assert_array_equal(record.landmarks_px, marks_of("001", reader))
    assert list(record.readers_px) == [reader]
    assert f"set data.reader={reader}" in message(isbi)


def test_class_labels_and_line_ends_are_read(isbi: Path) -> None:
    for reader, path in ISBI.annotations["train"].items():
        rows = [*rows_of("001", reader), "3", "1", "2", "", " "]
        write_text(isbi / path / "001.txt", rows, newline="\r\n")
    first, second = read_dataset(isbi, "train", DataConfig())
    assert first.class_labels == (3, 1, 2)
    assert second.class_labels is None
    np.testing.assert_array_equal(first.landmarks_px, marks_of("001", "junior") + 0.25)


def test_missing_landmarks_are_left_out_of_the_mean(isbi: Path) -> None:
    senior, junior = (isbi / path / "001.txt" for path in ISBI.annotations["train"].values())
    write_text(senior, ["nan,nan", "NaN, NaN", *rows_of("001", "senior")[2:]])
    write_text(junior, ["nan,nan", *rows_of("001", "junior")[1:]])
    landmarks_px = read_dataset(isbi, "train", DataConfig())[0].landmarks_px
    assert np.isnan(landmarks_px[0]).all()
    np.testing.assert_array_equal(landmarks_px[1], marks_of("001", "junior")[1])
    np.testing.assert_array_equal(landmarks_px[2:], marks_of("001", "junior")[2:] + 0.25)


@pytest.mark.parametrize("suffix", [".bmp", ".PNG", ".jpg", ".JPEG", ".tif", ".Tiff"])
def test_all_image_suffixes_are_read_and_hidden_files_ignored(isbi: Path, suffix: str) -> None:
    folder = isbi / ISBI.images["train"]
    (folder / "001.png").rename(folder / f"001{suffix}")
    for name in ("._001.png", ".DS_Store", "Thumbs.db"):
        (folder / name).write_bytes(b"x")
    (isbi / ISBI.annotations["train"]["senior"] / "._001.txt").write_bytes(b"x")
    records = read_dataset(isbi, "train", DataConfig())
    assert [record.image_path.name for record in records] == [f"001{suffix}", "002.png"]


def test_the_spacing_file_is_read(isbi: Path) -> None:
    write_text(isbi / "spacing.csv", ["film,spacing_mm", "003,0.3", "001,0.1", "002,0.2"])
    spacings = [record.spacing_mm for record in read_dataset(isbi, "all", DataConfig())]
    assert spacings == [0.1, 0.2, 0.3]
    assert read_dataset(isbi, "all", DataConfig(spacing_mm=0.5))[0].spacing_mm == 0.5


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["film,spacing_mm", "001,0.1"], "spacing.csv has no row for film '002'"),
        (["film,mm", "001,0.1"], "columns film,spacing_mm; got film,mm"),
        (["film,spacing_mm", "001,-1"], "spacing.csv, line 2: spacing_mm must be a positive"),
        (["film,spacing_mm", "001"], "spacing.csv, line 2: spacing_mm must be a positive"),
        ([], "columns film,spacing_mm; got"),
    ],
)
def test_an_invalid_spacing_file_is_refused(isbi: Path, rows: list[str], expected: str) -> None:
    write_text(isbi / "spacing.csv", rows)
    assert expected in message(isbi)


def test_folders_without_a_data_set_are_refused(tmp_path: Path) -> None:
    assert "found nothing; known layouts and formats: ISBI" in message(tmp_path)
    (tmp_path / "holiday.txt").touch()
    assert "found holiday.txt" in message(tmp_path)
    assert "holiday.txt has 0 lines; 19 lines x,y are needed" in message(tmp_path / "holiday.txt")
    assert "does not exist" in message(tmp_path / "nowhere")
    (tmp_path / "data").mkdir()
    build(tmp_path / "data", ISBI, {"train": ["001"]})
    assert f"one level too high; give {tmp_path / 'data'}" in message(tmp_path)
    for folder in ("images", "annotations/orthodontist-1"):
        (tmp_path / folder).mkdir(parents=True)
    assert "has no films in images" in message(tmp_path)


def test_unavailable_splits_are_refused(isbi: Path) -> None:
    text = message(isbi, "test2")
    assert "Test2 is missing or has no films" in text
    assert "available splits: train, test1, all" in text
    assert "split must be one of train, test1, test2, all; got 'valid'" in message(isbi, "valid")


def test_missing_annotation_folders_are_refused(isbi: Path) -> None:
    (isbi / "Annotations").rename(isbi / "Notes")
    assert "which is missing; put the annotation files there" in message(isbi)


def test_films_without_annotation_are_refused(isbi: Path) -> None:
    (isbi / ISBI.annotations["train"]["junior"] / "002.txt").unlink()
    assert "Junior Orthodontist: 002;" in message(isbi, "train")
    assert len(read_dataset(isbi, "train", DataConfig(reader="senior"))) == 2
    assert len(read_dataset(isbi, "test1", DataConfig())) == 1


def test_annotations_without_film_are_refused(isbi: Path) -> None:
    senior = isbi / ISBI.annotations["train"]["senior"]
    for number in range(301, 309):
        write_text(senior / f"{number}.txt", rows_of(str(number), "senior"))
    assert len(read_dataset(isbi, "all", DataConfig())) == 3  # they may belong to Test2
    write_text(senior / "002a.txt", rows_of("2", "senior"))  # Test2 comes after Test1
    assert "without film in Dataset/Training" in message(isbi, "train")
    (senior / "002a.txt").unlink()
    build(isbi, ISBI, {"test2": ["301"]})
    text = message(isbi, "train")
    assert "Senior Orthodontist without film" in text
    assert ": 302, 303, 304, 305, 306 and 2 more;" in text


def test_annotations_without_film_in_a_separate_folder_are_refused(tmp_path: Path) -> None:
    folder = build(tmp_path, ISBI_FOLDERS, {"train": ["1", "2"]})
    (folder / ISBI_FOLDERS.images["train"] / "2.png").unlink()
    assert "without film in train/images: 2;" in message(folder)


def test_films_that_occur_twice_are_refused(isbi: Path) -> None:
    write_film(isbi / ISBI.images["train"] / "003.png")
    assert "film '003' occurs in the splits 'train' and 'test1'" in message(isbi)
    (isbi / ISBI.images["train"] / "003.png").rename(isbi / ISBI.images["train"] / "001.bmp")
    assert "film '001' occurs twice" in message(isbi)


@pytest.mark.parametrize(
    ("row", "text", "expected"),
    [
        (3, "12", "001.txt, line 4: must be x,y in pixels"),
        (3, "12,a", "got '12,a'"),
        (3, "", "001.txt, line 4: must be x,y"),
        (3, "1,2,3", "got '1,2,3'"),
        (3, "1,nan", "or nan,nan if the landmark is missing; got '1,nan'"),
        (3, "inf,1", "got 'inf,1'"),
        (K, "7,8", f"001.txt, line {K + 1}: the lines after the {K} landmarks must be"),
    ],
)
def test_invalid_lines_are_refused(isbi: Path, row: int, text: str, expected: str) -> None:
    rows = rows_of("001", "senior")
    rows[row : row + 1] = [text]
    write_text(isbi / ISBI.annotations["train"]["senior"] / "001.txt", rows)
    assert expected in message(isbi)


def test_unreadable_annotation_files_are_refused(isbi: Path) -> None:
    path = isbi / ISBI.annotations["train"]["senior"] / "001.txt"
    write_text(path, rows_of("001", "senior")[:-1])
    assert f"001.txt has {K - 1} lines; {K} lines x,y are needed" in message(isbi)
    path.write_bytes(b"\xff\x00\x80")
    assert "001.txt cannot be read as text" in message(isbi)


def test_names_are_sorted_in_natural_order() -> None:
    names = ["10", "9", "film2", "film10", "", "1a", "1"]
    assert sorted(names, key=natural_key) == ["", "1", "1a", "9", "10", "film2", "film10"]
    assert first_few(names, 3) == ", 1, 1a and 4 more"
    assert first_few(["b", "a"]) == "a, b"


def test_a_handler_can_ignore_faults_of_single_films(isbi: Path) -> None:
    senior = isbi / ISBI.annotations["train"]["senior"]
    write_text(senior / "001.txt", ["12,a"])
    (senior / "003.txt").unlink()
    write_text(senior / "002a.txt", rows_of("2", "senior"))
    faults: list[tuple[list[str], str]] = []
    records = read_dataset(
        isbi, "all", DataConfig(), lambda films, fault: faults.append((list(films), str(fault)))
    )
    assert [record.film for record in records] == ["002"]
    messages = {tuple(films): text for films, text in faults}
    assert "001.txt has 1 lines" in messages["001",]
    assert "films without annotation" in messages["003",]
    assert "002a; add the films" in messages[()]
    write_text(isbi / "spacing.csv", ["film,spacing_mm", "001,0.3"])
    read_dataset(isbi, "test1", DataConfig(), lambda films, fault: faults.append(([], str(fault))))
    assert "no row" not in faults[-1][1]  # the missing annotation of 003 is reported instead
    assert list(list_films(isbi)["train"]) == ["001", "002"]
    assert list_films(isbi)["test2"] == {}


def test_the_benchmark_is_read(shared: Path) -> None:
    folder = shared / "data" / "isbi2015"
    train, test1 = (read_dataset(folder, split, DataConfig()) for split in ("train", "test1"))
    assert [len(train), len(test1)] == [150, 150]
    first = train[0]
    assert first.film == "001"
    np.testing.assert_array_equal(first.landmarks_px[[0, -1]], [[832.0, 993.5], [664.0, 1336.0]])
    assert first.class_labels == (3, 3, 2, 3, 3, 1, 2, 3)
    assert {record.landmarks_px.shape for record in train + test1} == {(19, 2)}
    if not (folder / ISBI.images["test2"]).is_dir():
        assert "available splits: train, test1, all" in message(folder, "test2")
