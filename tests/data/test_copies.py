"""Tests that copies are found with any contrast and encoding, and that other films are not."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from cephray.config import load_config
from cephray.data.copies import find_copies
from cephray.data.dataset.records import read_dataset
from cephray.data.synthetic.draw import write_dataset
from cephray.storage import Place


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Place]:
    folder = tmp_path_factory.mktemp("data") / "films"
    write_dataset(folder, 12, size_px=(484, 600))
    return [record.image_path for record in read_dataset(folder, "all", load_config().data)]


def test_different_films_are_not_copies(films: list[Place]) -> None:
    counted: list[int] = []
    assert find_copies(films, counted.append) == []
    assert sum(counted) == len(films)


def test_copies_with_other_contrast_size_or_encoding_are_found(
    films: list[Place], tmp_path: Path
) -> None:
    image = np.asarray(cv2.imread(str(films[3]), cv2.IMREAD_GRAYSCALE))
    grey = np.arange(256)
    gamma = (255 * (grey / 255) ** 0.6).astype(np.uint8)
    changed = {
        "saved.jpg": image,
        "bright.png": gamma[image],
        "weak.png": (image // 2 + 40).astype(np.uint8),
        "small.png": cv2.resize(image, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA),
    }
    for name, copy in changed.items():
        cv2.imwrite(str(tmp_path / name), copy)
    paths = [*films, *(tmp_path / name for name in changed)]
    group = [3, *range(12, 16)]
    assert find_copies(paths) == [(i, j) for i in group for j in group if i < j]


def test_unreadable_and_uniform_films_are_not_copies(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    black = np.zeros((300, 240), np.uint8)
    for name in ("black1.png", "black2.png"):
        cv2.imwrite(str(tmp_path / name), black)
    assert find_copies([*sorted(tmp_path.iterdir()), tmp_path / "none.png"]) == []
    assert find_copies([]) == []


def test_the_known_pairs_of_isbi_2015_and_no_others_are_found(shared: Path) -> None:
    folder = shared / "data" / "isbi2015"
    data = load_config().data
    records = [r for split in ("train", "test1") for r in read_dataset(folder, split, data)]
    pairs = find_copies([record.image_path for record in records])
    with (folder / "same_film_pairs.csv").open() as file:
        known = {(row["a"], row["b"]) for row in csv.DictReader(file)}
    assert {(records[i].film, records[j].film) for i, j in pairs} == known
    assert len(known) == 23
