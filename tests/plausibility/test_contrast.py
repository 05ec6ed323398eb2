"""Tests the contrast of films with and without a picture."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cephray.plausibility.contrast import grey_values, has_contrast

rng = np.random.default_rng(0)
NOISE = rng.integers(0, 256, (100, 80), np.uint8)
EVEN = np.full((100, 80), 90, np.uint8)
LABELLED = EVEN.copy()
LABELLED[:2, :3] = np.arange(0, 240, 40).reshape(2, 3)  # fewer than 1 in 1000 of each value
FAINT = (90 + rng.integers(0, 9, (100, 80))).astype(np.uint8)  # nine values, deviation 2.6


@pytest.mark.parametrize(
    ("image", "expected"),
    [(NOISE, True), (EVEN, False), (LABELLED, False), (FAINT, False), (FAINT * 2, True)],
)
def test_contrast_needs_many_different_grey_values(
    image: NDArray[np.uint8], expected: bool
) -> None:
    assert has_contrast(image) == expected


def test_rare_grey_values_are_not_counted() -> None:
    pixels = np.zeros(256, np.int64)
    pixels[[3, 4, 5, 6]] = [10_000, 10, 11, 0]
    assert grey_values(pixels) == 2  # 10 of 10,021 are fewer than 1 in 1000
    assert grey_values(np.ones(256, np.int64)) == 256
