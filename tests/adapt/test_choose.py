"""The choice of a change: an offset readily, more only if it is clearly better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from cephray.adapt.choose import CANDIDATES, Validation, choose


def validations(means: Sequence[float], differ: float, films: int = 10) -> list[Validation]:
    """Return errors of candidates whose gains over the first one differ between films."""
    pattern = np.where(np.arange(films) % 2, 1.0, -1.0)  # of mean 0
    found = []
    for number, mean in enumerate(means):
        errors = np.repeat((mean + number * differ * pattern)[:, None], 3, axis=1)
        errors[0, 1:] = np.nan  # landmarks that are not marked
        found.append(Validation(errors, None))
    return found


@pytest.mark.parametrize(
    ("means", "chosen"),
    [
        ([1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1], 0),
        ([1.5, 1.49, 1.7, 1.8, 1.9, 2.0], 1),  # an offset, by any gain
        # From one candidate to the next, the standard error of the gain is 0.3 / 9 ** 0.5 = 0.1.
        ([1.5, 1.4, 1.31, 1.5, 1.5, 1.5], 1),
        ([1.5, 1.4, 1.29, 1.5, 1.5, 1.5], 2),
        ([1.5, 1.4, 1.29, 1.2, 1.5, 1.5], 2),
        ([1.5, 1.4, 1.29, 1.18, 1.1, 1.0], 3),  # of the last two, it is 0.2 and 0.3
        ([1.5, 1.6, 1.6, 1.0, 1.6, 1.6], 3),
    ],
)
def test_more_than_an_offset_has_to_be_clearly_better(means: list[float], chosen: int) -> None:
    assert choose(validations(means, 0.3)) == chosen


def test_one_film_with_marks_does_not_tell_what_is_clearly_better() -> None:
    assert choose(validations([1.5, 1.4, 0.1, 0.1, 0.1, 0.1], 0.0, films=1)) == 1


def test_the_smallest_changes_come_first() -> None:
    of_last_layer = [one for one in CANDIDATES if not one.rank]
    ridges = [one.ridge for one in of_last_layer]
    assert ridges[0] is None
    assert ridges[1] == np.inf
    rest = [ridge for ridge in ridges[2:] if ridge is not None]
    assert rest == sorted(rest, reverse=True)
    assert len(rest) == len(ridges) - 2
    assert CANDIDATES[: len(of_last_layer)] == tuple(of_last_layer)
    assert len(CANDIDATES) == len(of_last_layer) + 1
