"""Tests that impossible marks are found, with one and two readers, and that correct ones pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cephray.config import DataConfig
from cephray.data.check.doubtful import Doubt, find_doubtful
from cephray.data.check.unlike import FEWEST_FILMS
from cephray.data.dataset import Record, read_dataset
from cephray.data.synthetic.draw import write_dataset
from cephray.landmarks import ISBI2015

Marks = NDArray[np.float64]
SIZE_PX = WIDTH, HEIGHT = 242, 300
ROW = {abbreviation: row for row, abbreviation in enumerate(ISBI2015.abbreviations)}


@pytest.fixture(scope="module")
def marked_twice(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Return 12 drawn films, each with two readers' marks."""
    folder = tmp_path_factory.mktemp("data") / "films"
    write_dataset(folder, 12, size_px=SIZE_PX)
    return read_dataset(folder, "all", DataConfig())


@pytest.fixture(scope="module")
def many(marked_twice: list[Record]) -> list[Record]:
    """Return 12 drawn films, each with one reader's marks."""
    return [with_marks(record, record.readers_px["senior"]) for record in marked_twice]


@pytest.fixture(scope="module")
def few(many: list[Record]) -> list[Record]:
    """Return the minimum number of films whose shapes are compared."""
    return many[:FEWEST_FILMS]


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
    return lambda marks_px: put(landmark, *(marks_px[ROW[landmark]] + [x, y]))(marks_px)


def swap(first: str, second: str) -> Callable[[Marks], Marks]:
    def change(marks_px: Marks) -> Marks:
        marks_px = marks_px.copy()
        marks_px[[ROW[first], ROW[second]]] = marks_px[[ROW[second], ROW[first]]]
        return marks_px

    return change


def onto(first: str, second: str) -> Callable[[Marks], Marks]:
    return lambda marks_px: put(first, *marks_px[ROW[second]])(marks_px)


ALL = tuple(ISBI2015.names)

# The change of the marks of one film, and the landmarks and words of the finding.
CASES: dict[str, tuple[Callable[[Marks], Marks], tuple[str, ...], str]] = {
    "left of the film": (put("S", -50, 60), ("Sella",), r"Sella at \(-50, 60\) lies outside"),
    "below the film": (put("Me", 99, 300), ("Menton",), "outside the film of 242 × 300 px"),
    "two beyond the film": (
        lambda m: put("Me", 1e300, -1e300)(put("S", -9, 9)(m)),
        ("Sella", "Menton"),
        "Sella and Menton lie outside the film of 242 × 300 px",
    ),
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
    "mirrored": (lambda m: np.add(m * [-1, 1], [WIDTH - 1, 0]), ALL, "mirrored, left to right"),
    "upside down": (lambda m: np.add(m * [1, -1], [0, HEIGHT - 1]), ALL, "film upside down"),
    "x and y swapped": (lambda m: m[:, ::-1], ALL, "x and y of the marks are swapped"),
    "turned a quarter": (
        lambda m: np.add(m[:, ::-1] * [1, -1], [0, WIDTH - 1]), ALL, "by -(8.|9.|10.) degrees"
    ),
    "turned by half": (lambda m: np.subtract(SIZE_PX, m), ALL, r"turned by -?1[678]\d degrees"),
    "of half the scale": (lambda m: m / 2, ALL, r"marks are 0\.[45]\d? times as large"),
    "of twice the scale": (lambda m: 2 * m, ALL, r"marks are (1\.[89]|2)\S* times"),
    "from 0 to 1": (lambda m: m / SIZE_PX, ALL, r"marks are 0\.00\d+ times as large"),
    "moved 60 mm to the right": (lambda m: np.add(m, [75, 0]), ALL, "unusually far to the right"),
    "moved 60 mm up": (lambda m: np.add(m, [0, -75]), ALL, "unusually far up"),
    "a line too many": (lambda m: np.roll(m, 1, axis=0), ALL, "one line too late"),
    "a line missing": (lambda m: np.roll(m, -1, axis=0), ALL, "one line too early"),
    "lines reversed": (lambda m: m[::-1], ALL, r"\d+ of the 19 marks lie far .* right order"),
    "x twice": (lambda m: m[:, [0, 0]], ALL, "far from their usual places"),
}  # fmt: skip


def spoil(records: list[Record], film: int, change: Callable[[Marks], Marks]) -> list[Record]:
    spoilt = list(records)
    spoilt[film] = with_marks(records[film], change(records[film].landmarks_px))
    return spoilt


@pytest.mark.parametrize("film", range(FEWEST_FILMS))
@pytest.mark.parametrize("case", CASES)
def test_impossible_marks_are_found(few: list[Record], case: str, film: int) -> None:
    change, landmarks, words = CASES[case]
    found = doubts(spoil(few, film, change))
    assert {(doubt.film, doubt.reader) for doubt in found} == {(few[film].film, "senior")}
    assert any(
        doubt.landmarks == landmarks and re.search(words, doubt.message) for doubt in found
    ), [str(doubt) for doubt in found]


@pytest.mark.parametrize("film", range(12))
@pytest.mark.parametrize(("first", "second"), [("Me", "Gn"), ("Pog", "Gn"), ("A", "ANS")])
def test_swapped_neighbours_are_found_among_more_films(
    many: list[Record], first: str, second: str, film: int
) -> None:
    found = doubts(spoil(many, film, swap(first, second)))
    names = tuple(ISBI2015.names[ROW[landmark]] for landmark in (first, second))
    assert [(d.film, d.landmarks) for d in found] == [(many[film].film, names)]
    assert "swapped" in found[0].message


def test_correct_marks_are_not_doubtful(
    few: list[Record], many: list[Record], marked_twice: list[Record]
) -> None:
    for records in (few, many, marked_twice):
        assert doubts(records) == ()


def test_missing_marks_are_not_doubtful_and_do_not_hide_others(few: list[Record]) -> None:
    def without(*landmarks: str) -> Callable[[Marks], Marks]:
        def change(marks_px: Marks) -> Marks:
            for landmark in landmarks:
                marks_px = put(landmark, np.nan, np.nan)(marks_px)
            return marks_px

        return change

    lacking = without("N", "Or", "LI", "UI")
    assert doubts(spoil(few, 1, lacking)) == ()
    assert doubts(spoil(few, 1, lambda m: np.full_like(m, np.nan))) == ()
    assert doubts(spoil(few, 1, lambda m: np.where(np.arange(19)[:, None] < 3, m, np.nan))) == ()
    everywhere = [with_marks(record, without("N")(record.landmarks_px)) for record in few]
    assert doubts(everywhere) == ()
    (found,) = doubts(spoil(few, 1, lambda m: swap("Po", "Go")(lacking(m))))
    assert found.landmarks == ("Porion", "Gonion")


def test_equal_marks_of_two_films_are_doubtful_on_both(few: list[Record]) -> None:
    spoilt = [*few[:3], with_marks(few[3], few[0].landmarks_px)]
    found = [str(doubt) for doubt in doubts(spoilt)]
    assert found == [
        "001, senior reader: has the same marks as film 004, senior reader; one of them is of"
        " another film",
        "004, senior reader: has the same marks as film 001, senior reader; one of them is of"
        " another film",
    ]
    assert doubts(spoilt, same_film={frozenset(("001", "004"))}) == ()


def test_several_wrong_films_among_many_are_found(many: list[Record]) -> None:
    spoilt = many
    for film, case in {1: "mirrored", 4: "of half the scale", 7: "swapped, jaws"}.items():
        spoilt = spoil(spoilt, film, CASES[case][0])
    assert [doubt.film for doubt in doubts(spoilt)] == ["002", "005", "008"]


@pytest.mark.parametrize(
    ("junior", "agrees"),
    [(lambda m: m + 1, True), (lambda m: move("S", -38, 0)(m), False), (lambda m: m, False)],
    ids=["near it", "at the usual place", "the same file"],
)
def test_the_agreement_of_another_reader_is_mentioned(
    few: list[Record], junior: Callable[[Marks], Marks], agrees: bool
) -> None:
    marks_px = move("S", 38, 0)(few[0].landmarks_px)
    spoilt = [with_marks(few[0], marks_px, junior=junior(marks_px)), *few[1:]]
    of_senior = [doubt for doubt in doubts(spoilt) if doubt.reader == "senior"]
    assert [doubt.landmarks for doubt in of_senior] == [("Sella",)]
    assert ("the junior reader agrees" in of_senior[0].message) == agrees


def test_positions_are_checked_with_any_number_of_films(few: list[Record]) -> None:
    assert doubts([]) == ()
    for films in (1, 2, 3):
        found = doubts(spoil(few[:films], 0, onto("Po", "Go")))
        assert [doubt.landmarks for doubt in found] == [("Porion", "Gonion")]


def test_spacings_are_taken_into_account(few: list[Record]) -> None:
    """A film with twice the resolution, and half the spacing, is not doubtful."""
    finer = replace(few[2], spacing_mm=few[2].spacing_mm / 2)
    records = [*few[:2], with_marks(finer, 2 * few[2].landmarks_px), few[3]]
    sizes_px = [SIZE_PX, SIZE_PX, (2 * WIDTH, 2 * HEIGHT), SIZE_PX]
    assert find_doubtful(records, sizes_px, ISBI2015.names) == ()
    wrong = [*few[:2], finer, few[3]]
    (found,) = find_doubtful(wrong, [SIZE_PX] * 4, ISBI2015.names)
    assert "or is the spacing wrong?" in found.message
