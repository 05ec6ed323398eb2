"""The input benchmark on drawn films: rows of both sides, and the share of an epoch that waits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cephray.benchmark.input import FULL_SIZE, _measure
from cephray.benchmark.timing import OURS
from cephray.config import AugmentConfig, Config
from cephray.data import read_dataset, write_dataset

MakeConfig = Callable[..., Config]


def test_measures_both_sides_and_the_wait(tmp_path: Path, small_config: MakeConfig) -> None:
    config = small_config(*(f"augment.{name}.enabled=true" for name in AugmentConfig.model_fields))
    write_dataset(tmp_path / "films", 8, size_px=(384, 480))
    records = read_dataset(tmp_path / "films", "train", config.data)
    rows = _measure(records, config, print, seconds=0.1)
    assert [row.subject for row in rows[:2]] == [OURS, FULL_SIZE]
    assert rows[0].case["films"] == 4
    assert all(row.median_s > 0 for row in rows)
    assert 0 <= rows[2].case["waiting_percent"] <= 100
