"""Folders of films, some of them broken, and what a prediction must leave of them."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cephray.data import write_dataset
from cephray.landmarks import ISBI2015
from cephray.prediction.files import Summary
from tests.data.dicom.test_decode import film as dicom_film

BROKEN = 5


def write_folder(folder: Path, count: int) -> Path:
    """Draw films, 5 of them broken in one way each, in two sub-folders that share names."""
    write_dataset(folder / "drawn", min(count, 30), size_px=(96, 120))
    drawn = sorted((folder / "drawn").rglob("*.png"))
    films = folder / "films"
    for name in ("a", "b"):
        (films / name).mkdir(parents=True)
    for number in range(count - BROKEN):
        source = drawn[number % len(drawn)]
        shutil.copy(source, films / "ab"[number % 2] / f"{number // 2:03d}.png")
    shutil.rmtree(folder / "drawn")
    content = (films / "a/000.png").read_bytes()
    (films / "a/cut.png").write_bytes(content[: len(content) // 2])
    (films / "a/no-picture.bmp").write_bytes(b"BM" + bytes(500))
    (films / "b/empty.png").touch()
    (films / "b/text.jpg").write_text("the film is in the other folder")
    report = dicom_film(np.zeros((4, 4), np.uint8))
    del report.PixelData
    report.save_as(films / "b/report", enforce_file_format=True)
    return films


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_alike(one: Any, other: Any) -> None:
    """Compare results: numbers to a tenth of what can be seen on a film, all else exactly.

    On processors without AVX-512, the last bits of a film's matrix products depend on its place
    among the films of a batch.
    """
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_alike(value, other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            assert_alike(first, second)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-4, abs=0.05)
    else:
        assert one == other


def assert_same_picture(one: bytes, other: bytes) -> None:
    """Compare pictures in PNG: hardly any pixel may differ, at the edge of a line."""
    first, second = (
        np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR))
        for content in (one, other)
    )
    assert first.shape == second.shape
    assert np.mean((first != second).any(axis=-1)) < 1e-2


def assert_same_files(one: Path, other: Path) -> None:
    """Compare the results of two predictions."""
    first, second = contents(one), contents(other)
    assert first.keys() == second.keys()
    for name, content in first.items():
        if name.endswith(".png"):
            assert_same_picture(content, second[name])
        elif name.endswith(".json"):
            assert_alike(json.loads(content), json.loads(second[name]))
        else:
            assert_alike(_cells(content), _cells(second[name]))


def _cells(table: bytes) -> list[list[float | str]]:
    rows = csv.reader(io.StringIO(table.decode()))
    return [[_number(cell) for cell in row] for row in rows]


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def check(summary: Summary, output: Path, count: int) -> None:
    """What there is of a folder of `write_folder`."""
    assert summary.written == count - BROKEN
    assert [line.split(" is ")[0].rpartition("/")[2] for line in summary.unread[:4]] == [
        "cut.png", "no-picture.bmp", "empty.png", "report contains no pixel data: it",
    ]  # fmt: skip
    assert "text.jpg is not a readable image" in summary.unread[4]
    assert len(list(output.rglob("*.json"))) == len(list(output.rglob("*.png"))) == count - BROKEN
    rows = (output / "landmarks.csv").read_text().splitlines()
    assert len(rows) == 1 + (count - BROKEN) * len(ISBI2015)
