"""Subsets: which films are copies of which, and what is left without them."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from cephray.config import DataConfig
from cephray.data import read_dataset, write_dataset
from cephray.evaluation.subsets import Copies, choose_subsets, find_repeats, training_films
from cephray.landmarks import ISBI2015, Landmark, LandmarkSet

FILMS = ["5", "6", "7", "8"]
PLAIN = LandmarkSet("plain", (Landmark("Sella", "S"), Landmark("Nasion", "N")))


def test_the_contested_landmark_is_one_of_the_set() -> None:
    assert set(ISBI2015.contested) <= set(ISBI2015.abbreviations)


def test_all_that_a_test_split_allows() -> None:
    copies = Copies(in_training={"6": "1"}, repeated={"8": "7"})
    subsets = {s.name: s for s in choose_subsets(FILMS, copies, ISBI2015)}
    assert list(subsets) == [
        "without_training_copies",
        "without_copies",
        "without_contested_landmarks",
        "without_copies_and_contested_landmarks",
    ]
    kept = {
        name: [f for f, k in zip(FILMS, s.films, strict=True) if k] for name, s in subsets.items()
    }
    assert kept == {
        "without_training_copies": ["5", "7", "8"],
        "without_copies": ["5", "7"],
        "without_contested_landmarks": FILMS,
        "without_copies_and_contested_landmarks": ["5", "7"],
    }
    left_out = np.flatnonzero(~subsets["without_contested_landmarks"].landmarks)
    assert [ISBI2015.names[k] for k in left_out] == ["Soft tissue pogonion"]
    errors_mm = np.arange(4 * 19.0).reshape(4, 19)
    part = subsets["without_copies_and_contested_landmarks"].of(errors_mm)
    np.testing.assert_array_equal(part, np.delete(errors_mm[[0, 2]], 15, axis=1))


@pytest.mark.parametrize(
    ("copies", "landmarks", "expected"),
    [
        (None, PLAIN, []),
        (Copies(None, {}), PLAIN, []),
        (Copies({}, {}), PLAIN, ["without_training_copies"]),
        (Copies(None, {"6": "5"}), PLAIN, ["without_copies"]),
        (None, ISBI2015, ["without_contested_landmarks"]),
    ],
)
def test_what_does_not_apply_is_left_out(
    copies: Copies | None, landmarks: LandmarkSet, expected: list[str]
) -> None:
    assert [s.name for s in choose_subsets(FILMS, copies, landmarks)] == expected


def test_planted_copies_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    write_dataset(folder, 8, size_px=(484, 600))
    train, test = folder / "Dataset/Training", folder / "Dataset/Testing/Test1"
    shutil.copy(train / "002.png", test / "006.png")
    shutil.copy(train / "001.png", train / "003.png")
    shutil.copy(test / "005.png", test / "008.png")
    records = read_dataset(folder, "test1", DataConfig())
    done: list[int] = []
    copies = find_repeats(records, training_films(folder, records), done.append)
    assert copies == Copies({"006": "002"}, {"008": "005"})
    assert sum(done) == 8

    every = read_dataset(folder, "all", DataConfig())
    assert training_films(folder, every) == {}
    assert find_repeats(every, {}) == Copies(None, {"003": "001", "006": "002", "008": "005"})


def test_the_known_copies_of_test1(shared: Path) -> None:
    folder = shared / "data" / "isbi2015"
    records = read_dataset(folder, "test1", DataConfig())
    copies = find_repeats(records, training_films(folder, records))
    with (folder / "same_film_pairs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    of_training = {r["b"]: r["a"] for r in rows if r["split_a"] != r["split_b"]}
    assert copies == Copies(
        of_training, {r["b"]: r["a"] for r in rows if r["b"] not in of_training}
    )
    subsets = choose_subsets([r.film for r in records], copies, ISBI2015)
    assert [int(s.films.sum()) for s in subsets] == [130, 127, 150, 127]
