"""Constructions: conventions of signs, and what is undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cephray.clinical.constructions import CONSTRUCTIONS


def compute(name: str, *points: tuple[float, float], **more: float) -> float:
    arrays = [np.array(point, float) for point in points]
    return float(CONSTRUCTIONS[name].compute(*arrays, **more))


def test_a_turn_is_positive_if_the_second_line_descends_more_steeply() -> None:
    assert compute("turn", (0, 0), (1, 0), (5, 5), (6, 6)) == pytest.approx(45)
    assert compute("turn", (5, 5), (6, 6), (0, 0), (1, 0)) == pytest.approx(-45)
    assert compute("turn", (0, 0), (1, 0), (5, 5), (6, 6), turned_deg=50) == pytest.approx(-5)
    assert compute("turn", (0, 0), (1, 0), (0, 0), (-1, 0)) == 180
    assert compute("between", (5, 5), (6, 6), (0, 0), (1, 0)) == pytest.approx(45)


def test_distances_from_a_line_are_positive_in_front_of_it_and_above() -> None:
    down, forwards = ((10, 0), (10, 50)), ((0, 10), (50, 10))
    assert compute("from_line", *down, (13, 99)) == pytest.approx(3)
    assert compute("from_line", *down, (8, 20)) == pytest.approx(-2)
    assert compute("from_line", *forwards, (20, 4)) == pytest.approx(6)
    assert compute("from_line", (0, 0), (3, 4), (7, 1)) == pytest.approx(5)  # 3, 4, 5


def test_ways_along_and_across_a_line() -> None:
    line = ((0, 0), (100, 0))
    assert compute("along", *line, (3, 8), (10, 1)) == pytest.approx(7)
    assert compute("across", *line, (3, 1), (10, 9)) == pytest.approx(8)
    assert compute("along", *line, (0, 0), (0, 5), turned_deg=30) == pytest.approx(2.5)
    assert compute("across", *line, (0, 0), (6, 0), turned_deg=30) == pytest.approx(-3)
    bisected = compute("along_bisector", (0, 0), (9, 0), (0, 0), (0, 4), (0, 0), (1, 0))
    assert bisected == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize("name", sorted(CONSTRUCTIONS.keys() - {"length"}))
def test_coincident_points_leave_directions_undefined(name: str) -> None:
    same = [np.ones(2)] * len(CONSTRUCTIONS[name].points)
    assert np.isnan(CONSTRUCTIONS[name].compute(*same))


@pytest.mark.parametrize("name", CONSTRUCTIONS)
def test_batches_and_missing_points(name: str) -> None:
    count = len(CONSTRUCTIONS[name].points)
    points = np.random.default_rng(0).uniform(0, 100, (count, 3, 4, 2))
    points[0, 1, 2, 0] = np.nan
    found = CONSTRUCTIONS[name].compute(*points)
    assert found.shape == (3, 4)
    assert np.isnan(found).sum() == 1
    assert np.isnan(found[1, 2])
