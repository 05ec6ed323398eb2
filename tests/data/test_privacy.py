"""The corners of films are blanked, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from cephray.data import MOST_PERCENT, blank_corners


@pytest.mark.parametrize("percent", [0.0, 10.0, 25.0])
def test_only_the_corners_change(percent: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 100), np.uint8)
    before = image.copy()
    blanked = blank_corners(image, percent)
    np.testing.assert_array_equal(image, before)
    rows, columns = round(2 * percent), round(percent)
    inside = np.zeros(image.shape, bool)
    for y in range(200):
        for x in range(100):
            inside[y, x] = (y < rows or y >= 200 - rows) and (x < columns or x >= 100 - columns)
    np.testing.assert_array_equal(blanked[~inside], image[~inside])
    for part in (blanked[:rows, :columns], blanked[200 - rows :, 100 - columns :]):
        assert part.size == 0 or part.min() == part.max()


def test_text_goes_and_the_background_stays() -> None:
    image = np.full((200, 100), 17, np.uint8)
    image[4:10, 2:8] = 255
    assert (blank_corners(image, 10.0) == 17).all()


def test_larger_corners_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 25"):
        blank_corners(np.zeros((8, 8), np.uint8), MOST_PERCENT + 1)


def test_a_film_may_be_smaller_than_a_corner() -> None:
    image = np.arange(4, dtype=np.uint8).reshape(2, 2)
    np.testing.assert_array_equal(blank_corners(image, 10.0), image)
