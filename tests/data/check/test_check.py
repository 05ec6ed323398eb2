"""Tests that the check of a data set finds planted faults, doubtful marks and copies."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from cephray.config import DataConfig
from cephray.data.check.check import Check, check_dataset
from cephray.data.check.text import format_check
from cephray.data.dataset.layouts import LAYOUTS
from cephray.data.synthetic.draw import write_dataset
from cephray.errors import InputError

ISBI = LAYOUTS[0]
TRAIN, TEST = (ISBI.images[split] for split in ("train", "test1"))
SENIOR, JUNIOR = ISBI.annotations["train"].values()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set of 8 drawn films, 001 to 004 in Training and 005 to 008 in Test1."""
    folder = tmp_path_factory.mktemp("data") / "films"
    write_dataset(folder, 8, size_px=(242, 300))
    return folder


@pytest.fixture
def films(drawn: Path, tmp_path: Path) -> Path:
    """Return a copy of the data set, which a test may modify."""
    return Path(shutil.copytree(drawn, tmp_path / "films"))


def check(folder: Path) -> Check:
    return check_dataset(folder, DataConfig())


def replace_mark(folder: Path, reader: str, film: str, landmark: int, text: str) -> None:
    path = folder / reader / f"{film}.txt"
    lines = path.read_text().splitlines()
    lines[landmark] = text
    path.write_text("\n".join(lines))


def test_drawn_films_have_no_faults(films: Path) -> None:
    done: list[int] = []
    found = check_dataset(films, DataConfig(), done.append)
    assert sum(done) == 2 * 8
    assert found.splits == {"train": 4, "test1": 4}
    assert found.faults == ()
    assert found.copies == ()
    assert found.missing == {}
    assert found.implausible == []
    text = format_check(found).splitlines()
    assert text[0] == "films    train 4, test1 4"
    assert "242 × 300 px" in text[1]
    assert "films are 240 mm high" in text[2]
    assert text[-1] == "faults   none"


def test_all_unusable_films_are_named(films: Path) -> None:
    (films / TRAIN / "001.png").write_bytes(b"no picture")
    whole = (films / TEST / "005.png").read_bytes()
    (films / TEST / "005.png").write_bytes(whole[: len(whole) // 2])
    replace_mark(films, SENIOR, "002", 3, "12,a")
    (films / JUNIOR / "006.txt").unlink()
    for reader in (SENIOR, JUNIOR):
        replace_mark(films, reader, "003", 0, "500,10")
    found = check(films)
    assert found.unusable == ["001", "002", "003", "005", "006"]
    assert found.films == 8
    assert [record.film for record in found.records] == ["004", "007", "008"]
    text = format_check(found)
    for words in (
        "001.png is not a readable image",
        "005.png is cut off",
        "002.txt, line 4: must be x,y",
        "films without annotation in",
        "landmark 1 at (500, 10) lies outside the film of 242 × 300 pixels",
    ):
        assert text.count(words) == 1
    assert json.loads(json.dumps(found.to_json()))["unusable"] == found.unusable


def test_annotations_without_film_are_a_fault_of_no_film(films: Path) -> None:
    shutil.copy(films / SENIOR / "001.txt", films / SENIOR / "002a.txt")
    found = check(films)
    assert [fault.films for fault in found.faults] == [()]
    assert "without film" in found.faults[0].message
    assert found.unusable == []


def test_noteworthy_facts_are_not_faults(films: Path) -> None:
    for reader in (SENIOR, JUNIOR):
        replace_mark(films, reader, "001", 2, "nan,nan")
    replace_mark(films, SENIOR, "005", 5, "nan,nan")
    replace_mark(films, JUNIOR, "006", 0, "1,1")
    image = np.asarray(cv2.imread(str(films / TRAIN / "002.png"), cv2.IMREAD_GRAYSCALE))
    wider = cv2.copyMakeBorder(image, 0, 0, 0, 20, cv2.BORDER_REFLECT)
    cv2.imwrite(str(films / TRAIN / "002.png"), wider)
    cv2.imwrite(str(films / TEST / "007.png"), np.full((300, 242), 9, np.uint8))
    with (films / "spacing.csv").open() as stream:
        rows = list(csv.reader(stream))
    rows[3][1] = "0.4"
    with (films / "spacing.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)

    found = check(films)
    assert found.faults == ()
    assert found.missing == {"Orbitale": ["001"]}
    assert found.implausible == ["003"]
    assert found.blank == ("007",)
    (between,) = found.readers
    (worst,) = found.far_apart(between)
    assert worst[:2] == ("006", "Sella")
    text = format_check(found)
    for words in (
        "242 × 300 px; other sizes: 002 (262 × 300)",
        "films with a single grey value: 007",
        "0.4 to 0.8 mm per pixel; films are 120 to 240 mm high",
        "is the spacing right? 003",
        "Orbitale is missing on 1 film: 001",
        "senior reader: landmarks that another reader marked are missing on 1 film: 005",
        "apart, are they swapped or slipped? 006 Sella",
    ):
        assert words in text
    facts = json.loads(json.dumps(found.to_json()))
    assert facts["missing"] == [{"name": "Orbitale", "films": ["001"]}]
    assert facts["sizes_px"][0] == {"size_px": [242, 300], "films": 7}


@pytest.mark.parametrize("readers", [1, 2])
def test_impossible_marks_are_found_with_one_and_two_readers(films: Path, readers: int) -> None:
    replace_mark(films, SENIOR, "001", 0, "-50,-60")
    lines = (films / SENIOR / "002.txt").read_text().splitlines()
    replace_mark(films, SENIOR, "002", 3, lines[9])
    marks = [line.split(",") for line in (films / SENIOR / "005.txt").read_text().splitlines()]
    mirrored = "".join(f"{241 - float(x)},{y}\n" for x, y in marks)
    (films / SENIOR / "005.txt").write_text(mirrored)
    if readers == 1:
        shutil.rmtree(films / JUNIOR)
    data = DataConfig(reader="senior" if readers == 1 else "mean")
    found = check_dataset(films, data)
    assert found.unusable == ["001"]
    text = format_check(found)
    for words in (
        "001, senior reader: Sella at (-50, -60) lies outside the film of 242 × 300 px",
        "landmark 1 at (-50, -60) lies outside the film of 242 × 300 pixels",
        "002, senior reader: Porion and Gonion lie at one place, (",
        "002, senior reader: Porion lies ",
        "005, senior reader: the marks are mirrored",
    ):
        assert text.count(words) == 1
    doubtful = json.loads(json.dumps(found.to_json()))["doubtful"]
    assert [(doubt["film"], doubt["reader"]) for doubt in doubtful] == [
        ("001", "senior"), ("002", "senior"), ("002", "senior"), ("005", "senior"),
    ]  # fmt: skip
    assert doubtful[1]["landmarks"] == ["Porion", "Gonion"]


def test_doubtful_marks_are_not_faults(films: Path) -> None:
    replace_mark(films, SENIOR, "002", 0, "0,0")
    found = check(films)
    assert found.faults == ()
    assert "doubtful 002, senior reader: Sella lies at (0, 0)" in format_check(found)
    last = format_check(found).splitlines()[-1]
    assert last == "faults   none, but look at the doubtful marks on 1 film"


def test_marks_that_are_not_the_truth_do_not_make_a_film_unusable(films: Path) -> None:
    replace_mark(films, JUNIOR, "002", 0, "250,10")
    found = check_dataset(films, DataConfig(reader="senior"))
    assert found.faults == ()
    assert [str(doubt) for doubt in found.doubtful] == [
        "002, junior reader: Sella at (250, 10) lies outside the film of 242 × 300 px"
    ]
    (fault,) = check(films).faults
    assert fault.message.startswith("junior reader: film ")


@pytest.mark.parametrize("text", ["inf,10", "10,-inf", "1e999,10", "nan,10", "10,NaN", "10", ","])
def test_marks_that_are_not_numbers_are_faults(films: Path, text: str) -> None:
    replace_mark(films, SENIOR, "002", 3, text)
    found = check(films)
    assert found.unusable == ["002"]
    words = "002.txt, line 4: must be x,y in pixels, or nan,nan if the landmark is missing; got"
    assert f"{words} {text!r}" in format_check(found)


def test_few_films_and_many_doubts_are_reported(
    films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cephray.data.check.text.MOST_DOUBTFUL", 2)
    for film in ("001", "002", "003"):
        replace_mark(films, SENIOR, film, 0, "0,0")
    text = format_check(check(films))
    assert "002, senior" in text
    assert "003, senior" not in text
    assert "and 1 more; --json FILE lists all of them" in text
    assert "were not compared" not in text
    for path in (*(films / TRAIN).iterdir(), films / TEST / "008.png"):
        path.write_bytes(b"no picture")
    assert "fewer than 4 readable films: the shapes of marks were not" in format_check(
        check(films)
    )


def test_copies_are_named_with_their_splits(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    write_dataset(folder, 8, size_px=(484, 600))
    shutil.copy(folder / TRAIN / "002.png", folder / TEST / "007.png")
    shutil.copy(folder / TRAIN / "003.png", folder / TRAIN / "004.png")
    (folder / SENIOR / "007.txt").write_text("")  # a film without marks can be a copy
    found = check(folder)
    assert [(pair.films, pair.splits, pair.crosses) for pair in found.copies] == [
        (("002", "007"), ("train", "test1"), True),
        (("003", "004"), ("train", "train"), False),
    ]
    lines = format_check(found).splitlines()
    assert "  002 (train) and 007 (test1) *" in [line[9:] for line in lines]
    assert "  003 (train) and 004 (train)" in [line[9:] for line in lines]
    assert "copies   pairs of the same film: 2; in training and test (*): 1" in lines


def test_folders_without_a_data_set_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no known layout"):
        check(tmp_path)


def test_mixed_sizes_and_no_usable_film_are_reported(films: Path) -> None:
    for number, path in enumerate(sorted((films / TRAIN).iterdir())):
        cv2.imwrite(str(path), np.zeros((400 + number, 300), np.uint8))
    for path in (films / TEST).iterdir():
        path.write_bytes(b"")
    assert "4 sizes, 300 × 400 to 300 × 403 px" in format_check(check(films))
    for path in (films / TRAIN).iterdir():
        path.write_bytes(b"")
    found = check(films)
    assert len(found.unusable) == found.films == 8
    assert format_check(found).startswith("films    train 4, test1 4\n")


def test_the_benchmark_has_its_known_copies_and_few_doubts(shared: Path) -> None:
    folder = shared / "data" / "isbi2015"
    found = check(folder)
    with (folder / "same_film_pairs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {pair.films for pair in found.copies} == {(row["a"], row["b"]) for row in rows}
    assert len(found.copies) == 23
    crossing = {pair.films for pair in found.copies if pair.crosses}
    assert crossing == {(row["a"], row["b"]) for row in rows if row["split_a"] != row["split_b"]}
    assert found.faults == ()
    assert found.splits == {"train": 150, "test1": 150}
    named = {doubt.film: doubt.landmarks for doubt in found.doubtful}
    assert len(named) <= 10
    assert named["181"] == ("Sella",)  # 22 mm from the other reader's mark
    assert named["297"] == ("Menton", "Gnathion")
