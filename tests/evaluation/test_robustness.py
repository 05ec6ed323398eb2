"""The table of disturbed films, with a detector that sees the truth or a fixed place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from cephray.config import DataConfig
from cephray.data import Film, View, read_dataset, write_dataset
from cephray.errors import InputError
from cephray.evaluation.disturb import DISTURBANCES
from cephray.evaluation.robustness import format_rows, measure_robustness
from cephray.prediction import Detection, Detector


class OffBy:
    """Finds each landmark this far to the right of the truth, stage one twice as far.

    Args:
        shift_mm: takes the number of calls so far; returns one shift, or one for each landmark.
    """

    def __init__(self, shift_mm: Callable[[int], float | NDArray[np.float64]]) -> None:
        self.view = View(96, 80, "letterbox")
        self.shift_mm = shift_mm
        self.calls = 0

    def detect(
        self, films: Iterable[Film], progress: Callable[[int], None]
    ) -> Iterator[Detection]:
        shift_mm = self.shift_mm(self.calls)
        self.calls += 1
        for film in films:
            shift = np.zeros((19, 2))
            shift[:, 0] = shift_mm / film.extent_mm[0]
            yield Detection(
                film,
                (film.landmarks_norm + 2 * shift).astype(np.float32),
                (film.landmarks_norm + shift).astype(np.float32),
            )
            progress(1)


def test_errors_are_of_the_disturbed_films_in_millimetres(tmp_path: Path) -> None:
    write_dataset(tmp_path, 4, size_px=(192, 240))
    records = read_dataset(tmp_path, "test1", DataConfig())
    done: list[int] = []
    detector = OffBy(lambda call: 3.0 if call == 8 else 1.5)
    rows = measure_robustness(cast(Detector, cast(Any, detector)), records, done.append)
    assert [row.disturbance for row in rows] == list(DISTURBANCES)
    assert sum(done) == len(records) * len(DISTURBANCES)
    for number, row in enumerate(rows):
        expected = 3.0 if number == 8 else 1.5
        assert row.refined.mre_mm == pytest.approx(expected, rel=1e-3)
        assert row.coarse.mre_mm == pytest.approx(2 * expected, rel=1e-3)
        assert row.ratio == pytest.approx(expected / 1.5, rel=1e-3)
    assert rows[0].landmarks == 2 * 19
    assert min(row.landmarks for row in rows) == rows[3].landmarks  # the cropped ones
    table = format_rows(rows)
    assert "inverted" in table
    assert "2.00 ×" in table


def test_the_median_and_the_worst_errors_are_compared_as_well(tmp_path: Path) -> None:
    write_dataset(tmp_path, 4, size_px=(192, 240))
    records = read_dataset(tmp_path, "test1", DataConfig())
    plain = np.arange(1, 20) / 10  # median 1, largest 1.9
    changed = np.where(plain == 1, 1.2, np.where(plain == 1.9, 3.8, plain))
    detector = OffBy(lambda call: changed if call == 1 else plain)
    row = measure_robustness(cast(Detector, cast(Any, detector)), records)[1]
    # By hand: each of the 19 errors occurs twice. The tenth of them is 1.0, and 1.1 once 1.0 has
    # become 1.2. The 99th percentile lies between the two largest, which are equal.
    assert row.median_ratio == pytest.approx(1.1, rel=1e-3)
    assert row.p99_ratio == pytest.approx(2.0, rel=1e-3)
    assert row.ratio == pytest.approx((19 + 0.2 + 1.9) / 19, rel=1e-3)
    assert "2.00 ×" in format_rows([row])


@pytest.mark.parametrize("spacing_mm", [4.0, 0.001])
def test_films_are_not_measured_in_wrong_millimetres(tmp_path: Path, spacing_mm: float) -> None:
    write_dataset(tmp_path, 4, size_px=(192, 240))
    records = read_dataset(tmp_path, "test1", DataConfig(spacing_mm=spacing_mm))
    detector = cast(Detector, cast(Any, OffBy(lambda call: 1.5)))
    with pytest.raises(InputError, match=r"\.png: a spacing of .*correct data\.spacing_mm"):
        measure_robustness(detector, records, lambda films: None)
