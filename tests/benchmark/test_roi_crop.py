"""The benchmark of the ROI crop: its bytes, its rows; and it does not time what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cephray.benchmark import roi_crop as benchmark
from cephray.benchmark import roi_crop_tensorflow
from cephray.benchmark.roi_crop_cases import (
    Case,
    draw_boxes,
    floor_bytes,
    full_cases,
    quick_cases,
    touched_cells,
)
from cephray.benchmark.timing import FLOOR, OURS, measure
from cephray.errors import RunError

SMALL = Case(batch=2, landmarks=3, crop_size=3, depth=2)


def test_cases_cover_every_factor() -> None:
    quick, full = list(quick_cases()), list(full_cases())
    assert len(set(quick)) == len(quick)
    assert set(quick) <= set(full)
    for name in ("batch", "landmarks", "crop_size", "depth", "dtype"):
        assert {getattr(c, name) for c in quick} == {getattr(c, name) for c in full}


def test_floor_counts_each_cell_once() -> None:
    case = Case(batch=1, landmarks=2, crop_size=2, depth=1)
    # Cells 2 to 4 of 25 rows and 3 to 6 of 20 columns, both ends on a cell: the corners alone.
    box = np.array([2 / 24, 3 / 19, 4 / 24, 6 / 19], np.float64)
    boxes = np.broadcast_to(box, (1, 2, 1, 4)).round(6).astype(np.float64)
    assert touched_cells(case, boxes) in range(4, 17)
    moved = floor_bytes(case, boxes, "backward") - boxes.nbytes
    assert moved == (25 * 20 + 2 * 2 * 2) * 256 * 4


def test_floor_reads_what_the_loops_read() -> None:
    boxes = draw_boxes(SMALL, np.random.default_rng(0))
    cells = 0
    for level, (height, width) in enumerate(SMALL.level_sizes):
        for image in boxes[:, :, level]:
            touched = set()
            for y1, x1, y2, x2 in image:
                for i in range(3):
                    for j in range(3):
                        y = (y1 + (y2 - y1) * (i / 2)) * (height - 1.0)
                        x = (x1 + (x2 - x1) * (j / 2)) * (width - 1.0)
                        touched |= {
                            (int(f(y)), int(g(x)))
                            for f in (np.floor, np.ceil)
                            for g in (np.floor, np.ceil)
                        }
            cells += len(touched)
    assert touched_cells(SMALL, boxes) == cells


def test_measure_gives_a_row_for_each_subject() -> None:
    rows = measure({"n": 1}, "forward", {OURS: lambda: 1.0, FLOOR: lambda: 0.5}, seconds=0)
    assert [(r.subject, r.median_s, r.ratio_to_ours) for r in rows] == [
        (OURS, 1.0, 1.0),
        (FLOOR, 0.5, 0.5),
    ]


def test_a_run_leaves_table_json_and_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(benchmark, "quick_cases", lambda: [SMALL])
    monkeypatch.setattr(benchmark, "SECONDS", 0.01)
    shown: list[str] = []
    files = tmp_path / "rows.json", tmp_path / "picture.png"
    rows = benchmark.run(False, *files, show=shown.append)
    assert {row.subject for row in rows} >= {OURS, "tensorflow", "keras.ops", FLOOR}
    content: dict[str, Any] = json.loads(files[0].read_text())
    assert content["machine"]["copy_bytes_per_s"] > 0
    assert len(content["rows"]) == len(rows)
    assert content["rows"][0]["case"]["batch"] == 2
    assert files[1].stat().st_size > 1000
    assert any("batch=2" in block for block in shown)


def test_what_is_wrong_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "quick_cases", lambda: [SMALL])
    right = roi_crop_tensorflow.CROPS[OURS]
    wrong = {OURS: lambda *arguments: right(*arguments) * 1.001}
    monkeypatch.setattr(roi_crop_tensorflow, "CROPS", wrong)
    with pytest.raises(RunError, match=r"is wrong, so it was not timed: .* off crop_and_resize"):
        benchmark.run(show=lambda block: None)
