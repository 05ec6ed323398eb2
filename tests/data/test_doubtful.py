"""Marks that cannot be right are named with one reader too; sound marks are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cephray.config import DataConfig
from cephray.data.doubtful import Doubt, find_doubtful
from cephray.data.formats import Record, read_dataset
from cephray.data.synthetic import write_dataset
from cephray.landmarks import ISBI2015

Marks = NDArray[np.float64]
SIZE_PX = WIDTH, HEIGHT = 242, 300
ROW = {abbreviation: row for row, abbreviation in enumerate(ISBI2015.abbreviations)}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Four drawn films, each with one reader's marks."""
    folder = tmp_path_factory.mktemp("data") / "films"
    write_dataset(folder, 4, size_px=SIZE_PX)
    return [with_marks(r, r.readers_px["senior"]) for r in read_dataset(folder, "all", DataConfig())]


def with_marks(record: Record, marks_px: Marks, **others: Marks) -> Record:
    return replace(record, landmarks_px=marks_px, readers_px={"senior": marks_px, **others})


def doubts(records: list[Record], **more: Any) -> tuple[Doubt, ...]:
    return find_doubtful(records, [SIZE_PX] * len(records), ISBI2015.names, **more)


def put(landmark: str, x: float, y: float) -> Callable[[Marks], Marks]:
    def change(marks_px: Marks) -> Marks:
        marks_px = marks_px.copy()
        marks_px[ROW[landmark]] = x, y
        return marks_px

    return change


def move(landmark: str, x: float, y: float) -> Callable[[Marks], Marks]:
    return lambda marks_px: put(landmark, *(marks_px[ROW[landmark]] + (x, y)))(marks_px)


def swap(first: str, second: str) -> Callable[[Marks], Marks]:
    def change(marks_px: Marks) -> Marks:
        marks_px = marks_px.copy()
        marks_px[[ROW[first], ROW[second]]] = marks_px[[ROW[second], ROW[first]]]
        return marks_px

    return change


def onto(first: str, second: str) -> Callable[[Marks], Marks]:
    return lambda marks_px: put(first, *marks_px[ROW[second]])(marks_px)


ALL = tuple(ISBI2015.names)

# What was done to the marks of one film; the landmarks and some words of the finding.
CASES: dict[str, tuple[Callable[[Marks], Marks], tuple[str, ...], str]] = {
    "left of the film": (put("S", -50, 60), ("Sella",), r"Sella at \(-50, 60\) lies outside"),
    "below the film": (put("Me", 99, 300), ("Menton",), "outside the film of 242 × 300 px"),
    "at the corner": (put("Or", 0, 0), ("Orbitale",), r"lies at \(0, 0\).* write nan,nan"),
    "at minus zero": (put("Or", -0.0, 0), ("Orbitale",), r"lies at \(0, 0\)"),
    "all at the corner": (lambda m: 0 * m, ALL, r"Articulare lie at \(0, 0\)"),
    "two at one place": (onto("Po", "Go"), ("Porion", "Gonion"), "lie at one place"),
    "all at one place": (lambda m: 0 * m + 99, ALL, r"all marks lie at one place, \(99, 99\)"),
    "one slipped 30 mm": (move("S", 38, 0), ("Sella",), r"lies \d\d mm from its usual place"),
    "two slipped": (
        lambda m: move("N", 0, 60)(move("Go", 0, -60)(m)),
        ("Nasion", "Gonion"),
        r"Nasion and Gonion lie \d\d( to \d\d)? mm from their usual places",
    ),
    "swapped, far apart": (swap("Po", "Go"), ("Porion", "Gonion"), "swapped"),
    "swapped, jaws": (swap("A", "B"), ("A-point", "B-point"), "swapped"),
    "swapped, lips": (swap("UL", "LL"), ("Upper lip", "Lower lip"), "swapped"),
    "swapped, neighbours": (swap("Me", "Gn"), ("Menton", "Gnathion"), "swapped"),
    "mirrored": (lambda m: (WIDTH - 1 - m[:, :1], m[:, 1:]), ALL, "mirrored, left to right"),
    "upside down": (lambda m: (m[:, :1], HEIGHT - 1 - m[:, 1:]), ALL, "film upside down"),
    "x and y swapped": (lambda m: m[:, ::-1], ALL, "x and y of the marks are swapped"),
    "turned a quarter": (lambda m: (m[:, 1:], WIDTH - 1 - m[:, :1]), ALL, r"turned by -(8|9)\d"),
    "turned by half": (lambda m: [WIDTH, HEIGHT] - m, ALL, r"turned by -?1[78]\d degrees"),
    "of half the scale": (lambda m: m / 2, ALL, r"marks are 0\.\d\d times as large"),
    "of twice the scale": (lambda m: 2 * m, ALL, r"marks are (1\.[89]|2\.[0-3])\d? times as large"),
    "moved 60 mm to the right": (lambda m: m + (75, 0), ALL, "unusually far to the right"),
    "moved 60 mm up": (lambda m: m - (0, 75), ALL, "unusually far up"),
    "a line too many": (lambda m: np.roll(m, 1, axis=0), ALL, "one line too late"),
    "a line missing": (lambda m: np.roll(m, -1, axis=0), ALL, "one line too early"),
    "lines reversed": (lambda m: m[::-1], ALL, r"\d+ of the 19 marks lie far .* right order"),
    "x twice": (lambda m: m[:, [0, 0]], ALL, "far from their usual places"),
}  # fmt: skip


@pytest.mark.parametrize("film", range(4))
@pytest.mark.parametrize("case", CASES)
def test_impossible_marks_are_named_with_one_reader(
    records: list[Record], case: str, film: int
) -> None:
    change, landmarks, words = CASES[case]
    marks_px = change(records[film].landmarks_px)
    if isinstance(marks_px, tuple):
        marks_px = np.concatenate(marks_px, axis=1)
    spoilt = list(records)
    spoilt[film] = with_marks(records[film], marks_px)
    found = doubts(spoilt)
    assert {doubt.film for doubt in found} == {records[film].film}
    assert {doubt.reader for doubt in found} == {"senior"}
    import re
    assert any(d.landmarks == landmarks and re.search(words, d.message) for d in found), [
        str(d) for d in found
    ]


def test_sound_marks_are_not_named(records: list[Record]) -> None:
    assert doubts(records) == ()
