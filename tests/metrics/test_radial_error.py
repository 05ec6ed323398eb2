"""Tests error summaries by hand and against published figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cephray.config import DataConfig
from cephray.data import read_dataset
from cephray.landmarks import ISBI2015
from cephray.metrics.radial_error import format_table, summarise, summarise_landmarks


def test_summary_by_hand() -> None:
    summary = summarise(np.array([[1.0, 2.0], [2.5, np.nan]]))
    assert summary.mre_mm == pytest.approx(5.5 / 3)
    assert summary.sd_mm == pytest.approx(np.std([1.0, 2.0, 2.5]))
    assert summary.sdr_percent == pytest.approx({2.0: 200 / 3, 2.5: 100, 3.0: 100, 4.0: 100})


def test_the_summary_of_missing_landmarks_is_null() -> None:
    assert summarise(np.full((2, 3), np.nan)).to_json()["mre_mm"] is None


def test_published_predictions_give_their_published_metrics(shared: Path) -> None:
    """DeLR-ConvNeXtV2 on Test1 against the unrounded mean of both readers."""
    folder = shared / "data" / "delr_test1"
    expected = json.loads((folder / "expected_metrics.json").read_text())
    predicted = json.loads((folder / "predictions.json").read_text())
    records = read_dataset(shared / "data" / "isbi2015", "test1", DataConfig())
    errors_mm = np.stack(
        [
            np.linalg.norm(np.array(predicted[record.film]) - record.landmarks_px, axis=-1)
            * record.spacing_mm
            for record in records
        ]
    )
    summary = summarise(errors_mm)
    assert len(errors_mm) == expected["n_images"]
    assert round(summary.mre_mm, 6) == expected["mre_mm"]
    assert round(summary.sd_mm, 6) == expected["sd_mm"]
    for limit, rate in expected["sdr"].items():
        assert round(summary.sdr_percent[float(limit)], 4) == rate
    per_landmark = [round(s.mre_mm, 6) for s in summarise_landmarks(errors_mm)]
    assert per_landmark == expected["per_landmark_mre_mm"]


def test_table_has_a_row_for_each_landmark_and_the_average() -> None:
    table = format_table(ISBI2015.names, np.ones((3, 19))).splitlines()
    assert len(table) == 1 + 1 + 19 + 1 + 1
    assert table[2].split() == ["Sella", "1.00", "±", "0.00", *["100.00"] * 4]
    assert table[-1].startswith("Average")
