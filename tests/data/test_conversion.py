"""Conversion of annotations: what is written, and that it can be read back as a data set."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cephray.cli.__main__ import main
from cephray.config import DataConfig
from cephray.data import FORMATS, convert_annotations, format_named, write_dataset
from cephray.data.dataset import read_dataset
from cephray.errors import InputError
from cephray.landmarks import landmark_set
from cephray.storage import Place, place, replace_bytes
from tests.conftest import Store


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw two films with the marks of two readers, in the layout of ISBI 2015."""
    folder = tmp_path_factory.mktemp("drawn") / "data"
    write_dataset(folder, 2, seed=1, size_px=(160, 200))
    return folder


def convert(source: Place, output: Path, to: str, **options: Any) -> Any:
    data = DataConfig(reader=options.pop("reader", "all"), **options.pop("data", {}))
    return convert_annotations(source, output, format_named(to), data, **options)


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_a_copy_with_films_is_the_same_data_set(drawn: Path, tmp_path: Path, one: Any) -> None:
    output = tmp_path / "converted"
    done = convert(drawn, output, one.name, copy_films=True)
    assert (done.films, done.readers, done.marks) == (2, ("senior", "junior"), 2 * 2 * 19)
    wanted = read_dataset(drawn, "all", DataConfig())
    found = read_dataset(output, "all", DataConfig())
    assert len(found) == len(wanted)
    for before, after in zip(wanted, found, strict=True):
        assert after.film == before.film
        assert after.spacing_mm == before.spacing_mm
        assert after.image_path.read_bytes() == before.image_path.read_bytes()
        assert after.size_px in (None, (160, 200))
        for reader, marks in before.readers_px.items():
            np.testing.assert_array_equal(after.readers_px[reader], marks)


@pytest.mark.parametrize("first", FORMATS, ids=lambda one: one.name)
@pytest.mark.parametrize("second", ["csv", "text", "coco"])
def test_from_each_format_to_others(drawn: Path, tmp_path: Path, first: Any, second: str) -> None:
    convert(drawn, tmp_path / "one", first.name, copy_films=True)
    convert(tmp_path / "one", tmp_path / "two", second, copy_films=True)
    wanted = read_dataset(drawn, "all", DataConfig())
    for before, after in zip(
        wanted, read_dataset(tmp_path / "two", "all", DataConfig()), strict=True
    ):
        assert after.spacing_mm == before.spacing_mm
        for reader, marks in before.readers_px.items():
            np.testing.assert_array_equal(after.readers_px[reader], marks)


def test_without_copies_labelme_files_name_the_films_where_they_are(
    drawn: Path, tmp_path: Path
) -> None:
    convert(drawn, tmp_path / "out", "labelme", reader="mean")
    file = tmp_path / "out" / "annotations" / "mean" / "001.json"
    image = json.loads(file.read_text(encoding="utf-8"))["imagePath"]
    named = Path(os.path.normpath(file.parent / image))
    assert named == drawn / "Dataset" / "Training" / "001.png"


def test_one_reader_and_the_mean(drawn: Path, tmp_path: Path) -> None:
    convert(drawn, tmp_path / "mean.csv", "csv", reader="mean")
    convert(drawn, tmp_path / "junior.xml", "cvat", reader="junior", split="train")
    assert "mean" in (tmp_path / "mean.csv").read_text(encoding="utf-8")
    xml = (tmp_path / "junior.xml").read_text(encoding="utf-8")
    assert xml.count("<image ") == 1
    assert "senior" not in xml
    with pytest.raises(InputError, match="not marked by reader 'anna', but by junior"):
        convert(tmp_path / "junior.xml", tmp_path / "x.csv", "csv", reader="anna")


def test_films_are_not_needed(drawn: Path, tmp_path: Path) -> None:
    convert(drawn, tmp_path / "all.csv", "csv")
    done = convert(tmp_path / "all.csv", tmp_path / "text", "text")
    assert done.films == 2
    assert (tmp_path / "text" / "annotations" / "senior" / "001.txt").is_file()
    with pytest.raises(InputError, match="has no image that could be copied"):
        convert(tmp_path / "all.csv", tmp_path / "with", "text", copy_films=True)


@pytest.mark.parametrize(
    ("to", "name", "said"),
    [
        ("labelme", "out.json", "labelme JSON is written to a folder$"),
        ("coco", "out.csv", "COCO keypoints is written to a folder or a .json file"),
    ],
)
def test_a_file_of_another_format_is_refused(
    drawn: Path, tmp_path: Path, to: str, name: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        convert(drawn, tmp_path / name, to)
    assert not (tmp_path / name).exists()


def test_what_exists_is_not_overwritten(drawn: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken.csv"
    taken.write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="exists already; give a new file"):
        convert(drawn, taken, "csv")
    with pytest.raises(InputError, match="is not an empty folder"):
        convert(drawn, tmp_path, "labelme")
    assert taken.read_text(encoding="utf-8") == "x"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "yolo"], "unknown annotation format 'yolo'"),
        (["--to", "csv", "--from", "xls"], "unknown annotation format 'xls'"),
        (["--to", "csv", "--landmarks", "aariz"], "has 19 lines; 29 lines x,y are needed"),
        (["--to", "csv", "--spacing", "-1"], "data.spacing_mm"),
        (["--to", "csv", "--split", "test2"], "split 'test2'"),
    ],
)
def test_wrong_options_are_told_in_one_line(
    drawn: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    assert main(["convert", str(drawn), str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_did(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(drawn), str(tmp_path / "out.json"), "--to", "coco"]) == 0
    assert "2 films with 76 marks by senior, junior" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "nothing"), str(tmp_path / "x"), "--to", "csv"]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_sets_of_other_landmarks(tmp_path: Path) -> None:
    data: dict[str, Any] = {"landmarks": "aariz"}
    write_dataset(tmp_path / "d", 2, 0, (160, 200), landmarks=landmark_set("aariz"))
    convert(tmp_path / "d", tmp_path / "coco", "coco", data=data, copy_films=True)
    before, _ = read_dataset(tmp_path / "d", "all", DataConfig(**data))
    after, _ = read_dataset(tmp_path / "coco", "all", DataConfig(**data))
    np.testing.assert_array_equal(after.landmarks_px, before.landmarks_px)
    with pytest.raises(InputError, match="has no 'Pn'"):
        read_dataset(tmp_path / "coco", "all", DataConfig())
    # Landmarks of the other set, of which this set has some.
    ignoring = DataConfig(unknown_labels="ignore")
    some, _ = read_dataset(tmp_path / "coco", "all", ignoring)
    sella = landmark_set("aariz").abbreviations.index("S")
    np.testing.assert_array_equal(some.landmarks_px[0], before.landmarks_px[sella])


def test_a_failed_conversion_leaves_nothing(drawn: Path, tmp_path: Path) -> None:
    convert(drawn, tmp_path / "one", "labelme", copy_films=True)
    (tmp_path / "one" / "images" / "002.png").unlink()
    with pytest.raises(InputError, match="film '002': has no image that could be copied"):
        convert(tmp_path / "one", tmp_path / "two", "csv", copy_films=True)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_an_existing_table_of_spacings_is_kept(drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "spacing.csv").write_text("film,spacing_mm\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"spacing.csv exists already"):
        convert(drawn, tmp_path / "all.xml", "cvat")
    assert not (tmp_path / "all.xml").exists()


def test_a_data_set_in_a_store(drawn: Path, tmp_path: Path, store: Store) -> None:
    convert(drawn, tmp_path / "one", "coco", copy_films=True)
    remote = place(store.uri("convert"))
    for path in sorted((tmp_path / "one").rglob("*.*")):
        name = path.relative_to(tmp_path / "one").as_posix()
        replace_bytes(remote / name, path.read_bytes())
    records = read_dataset(remote, "all", DataConfig())
    assert [record.film for record in records] == ["001", "002"]
    assert convert(remote, tmp_path / "two", "text", copy_films=True).films == 2
    assert (tmp_path / "two" / "images" / "001.png").is_file()
