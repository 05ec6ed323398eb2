"""Tests the comparison of classes: which sides are compared, and missing landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from cephray.clinical.comparison import compare_classes
from cephray.clinical.measures import classify
from cephray.config import DataConfig
from cephray.data import Record, read_dataset, write_dataset
from cephray.landmarks import ISBI2015, LandmarkSet


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder = tmp_path_factory.mktemp("data") / "films"
    write_dataset(folder, 12, size_px=(192, 240))
    return read_dataset(folder, "all", DataConfig())


def marks(records: list[Record]) -> np.ndarray:
    return np.stack([record.landmarks_px for record in records])


def test_the_truth_agrees_with_itself(records: list[Record]) -> None:
    ours, readers = compare_classes(records, marks(records), ISBI2015)
    assert ours.title == "prediction against the truth"
    assert ours.agreement.agreement_percent == 100
    assert {readers.subject, readers.against} == {"junior", "senior"}
    spacing_mm = np.array([record.spacing_mm for record in records])
    first, second = (
        classify(np.stack([record.readers_px[name] for record in records]), spacing_mm)
        for name in ("junior", "senior")
    )
    expected = 100 * np.mean(first == second)
    assert readers.agreement.agreement_percent == pytest.approx(expected)


def test_a_wrong_incisor_changes_one_class(records: list[Record]) -> None:
    """Only MW depends on the incisors."""
    predicted = marks(records)
    spacing_mm = records[0].spacing_mm
    predicted[0, 11] = predicted[0, 10] + (20 / spacing_mm, 0)  # an overjet of 20 mm
    (ours, _) = compare_classes(records, predicted, ISBI2015)
    before = classify(records[0].landmarks_px, spacing_mm)
    after = classify(predicted[0], spacing_mm)
    assert after[-1] == 4
    assert before[-1] != 4
    by_name = {m.name: m for m in ours.agreement.measurements}
    assert by_name["MW"].agreeing == len(records) - 1
    assert all(m.agreeing == m.films for name, m in by_name.items() if name != "MW")


def test_missing_landmarks_are_ignored(records: list[Record]) -> None:
    predicted = marks(records)
    predicted[0] = np.nan
    (ours, _) = compare_classes(records, predicted, ISBI2015)
    assert {m.films for m in ours.agreement.measurements} == {len(records) - 1}


def test_landmark_sets_without_measurements_give_no_comparisons(records: list[Record]) -> None:
    few = LandmarkSet("few", ISBI2015.landmarks[:3])
    assert compare_classes(records, marks(records)[:, :3], few) == ()
