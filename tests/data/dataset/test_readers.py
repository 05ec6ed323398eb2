"""Tests distances between readers: by hand, with missing marks, and on the benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cephray.config import DataConfig
from cephray.data.dataset import Record, read_dataset
from cephray.data.dataset.readers import compare_readers


def record(**readers: list[tuple[float, float]]) -> Record:
    """Return a record of two landmarks, whose truth is the readers' mean."""
    marks = {reader: np.array(points) for reader, points in readers.items()}
    truth = np.nanmean(np.stack(list(marks.values())), axis=0)
    return Record("1", Path("1.png"), truth, 0.1, "train", marks)


def test_distances_of_two_readers_by_hand() -> None:
    films = [record(senior=[(0, 0), (10, 10)], junior=[(30, 40), (10, 10)])]
    each, between = compare_readers(films, "mean")
    assert (each.title, between.title) == (
        "each reader against the readers' mean",
        "junior reader against senior reader",
    )
    np.testing.assert_allclose(between.distances_mm, [[5.0, 0.0]])
    np.testing.assert_allclose(each.distances_mm, [[2.5, 0.0]])
    (alone,) = compare_readers(films, "junior")
    assert (alone.reader, alone.against) == ("senior", "junior")


def test_landmarks_marked_by_one_reader_have_no_distance() -> None:
    nan = float("nan")
    films = [
        record(senior=[(0, 0), (nan, nan)], junior=[(30, 40), (1, 1)]),
        record(senior=[(0, 0), (5, 5)]),
    ]
    each, between = compare_readers(films, "mean")
    for comparison in (each, between):
        np.testing.assert_array_equal(
            np.isnan(comparison.distances_mm), [[False, True], [True, True]]
        )
    assert compare_readers(films[1:], "mean") == ()
    assert compare_readers([], "mean") == ()


def test_distances_of_the_readers_on_test1(shared: Path) -> None:
    records = read_dataset(shared / "data" / "isbi2015", "test1", DataConfig())
    each, between = compare_readers(records, "mean")
    assert between.distances_mm.mean() == pytest.approx(2.36, abs=0.005)
    assert each.distances_mm.mean() == pytest.approx(1.18, abs=0.005)
    np.testing.assert_allclose(2 * each.distances_mm, between.distances_mm, atol=1e-9)
