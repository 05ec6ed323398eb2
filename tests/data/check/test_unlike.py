"""Tests the kinds and amounts of findings about marks that differ from the other films."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cephray.data.check.unlike import FEWEST_FILMS, find_unlike
from cephray.data.synthetic.anatomy import LANDMARKS_MM
from cephray.landmarks import ISBI2015

Points = NDArray[np.float64]
HEAD = np.array([LANDMARKS_MM[name] for name in ISBI2015.abbreviations])  # [19, 2], mm
EXTENT = np.array([193.5, 240.0])


def draw_sets(films: int, seed: int = 0, spread_mm: float = 1.5) -> Points:
    """Return heads of one shape, with small random changes of size and landmarks."""
    rng = np.random.default_rng(seed)
    sizes = rng.normal(1, 0.04, (films, 1, 1))
    return (
        HEAD * sizes + rng.normal(0, spread_mm, (films, 19, 2)) + rng.normal(0, 4, (films, 1, 2))
    )


def find(sets: Points, scale: float = 1.0) -> list[tuple[int, str, tuple[int, ...], float]]:
    found = find_unlike(sets * scale, range(len(sets)), np.tile(EXTENT * scale, (len(sets), 1)))
    return [(each.index, each.kind, each.landmarks, each.amount) for each in found]


@pytest.mark.parametrize("films", [4, 8, 40, 150])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_unit_does_not_matter(films: int, scale: float) -> None:
    sets = draw_sets(films)
    assert find(sets, scale) == []
    sets[1, 0] += 40, 0
    ((index, kind, landmarks, amount),) = find(sets, scale)
    assert (index, kind, landmarks) == (1, "far", (0,))
    assert amount / scale == pytest.approx(40, abs=6)


@pytest.mark.parametrize("films", [0, 1, FEWEST_FILMS - 1])
def test_too_few_films_are_not_compared(films: int) -> None:
    sets = draw_sets(films)
    sets[:1] *= 9
    assert find(sets) == []


@pytest.mark.parametrize("films", [4, 150])
@pytest.mark.parametrize(
    ("kind", "amount", "matrix"),
    [
        ("size", 2.0, [[2, 0], [0, 2]]),
        ("size", 0.4, [[0.4, 0], [0, 0.4]]),
        ("turned", 90.0, [[0, -1], [1, 0]]),
        ("turned", -90.0, [[0, 1], [-1, 0]]),
        ("turned", 180.0, [[-1, 0], [0, -1]]),
        ("mirrored", None, [[-1, 0], [0, 1]]),
        ("upside down", None, [[1, 0], [0, -1]]),
        ("x and y swapped", None, [[0, 1], [1, 0]]),
    ],
)
def test_changes_of_the_whole_set_are_recognised(
    films: int, kind: str, amount: float | None, matrix: list[list[float]]
) -> None:
    sets = draw_sets(films)
    middle = sets[2].mean(axis=0)
    sets[2] = (sets[2] - middle) @ np.array(matrix).T + middle
    ((index, found, landmarks, value),) = find(sets)
    assert (index, found, landmarks) == (2, kind, ())
    if kind == "size":
        assert value == pytest.approx(amount, rel=0.15)
    elif kind == "turned":
        assert amount is not None
        assert abs((value - amount + 180) % 360 - 180) < 8


def test_many_far_landmarks_are_one_finding() -> None:
    sets = draw_sets(12)
    sets[3, :8] += np.random.default_rng(1).choice([-60, 60], (8, 2))
    ((index, kind, landmarks, amount),) = find(sets)
    assert (index, kind, landmarks) == (3, "unlike", ())
    assert amount == 8


def test_two_sets_of_one_film_are_not_compared_with_each_other() -> None:
    sets = np.repeat(draw_sets(4), 2, axis=0)
    sets[:2, 0] += 40, 0
    found = find_unlike(sets, [0, 0, 1, 1, 2, 2, 3, 3], np.tile(EXTENT, (8, 1)))
    assert [(each.index, each.landmarks) for each in found] == [(0, (0,)), (1, (0,))]


def test_the_spread_of_a_landmark_is_taken_into_account() -> None:
    """A landmark with a large spread is not far away where one with a small spread is."""
    sets = draw_sets(40)
    sets[:, 9] += np.random.default_rng(2).normal(0, 12, (40, 2))
    sets[5, 9] = np.add(sets[:, 9].mean(axis=0), [30, 0])
    assert find(sets) == []
    sets[5, 0] += 30, 0
    assert [(index, landmarks) for index, _, landmarks, _ in find(sets)] == [(5, (0,))]
