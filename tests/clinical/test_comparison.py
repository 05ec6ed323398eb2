"""Tests the comparison of classes: which sides are compared, and missing landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from cephray.clinical.comparison import ValueComparison, compare_classes, compare_values
from cephray.clinical.measures import classify, measure
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
    assert compare_values(records, marks(records)[:, :3], few) == ()


def test_limits_of_agreement_by_hand() -> None:
    reference = np.full((4, 8), 80.0)
    values = reference.copy()
    values[:, 0] += [1, 3, np.nan, 5]  # of a mean of 3 and a standard deviation of 2
    values[1:, 1] = np.nan  # a single film
    comparison = ValueComparison("prediction", "truth", values, reference)
    limits = comparison.limits()
    assert limits[0] == pytest.approx([3, 3 - 3.92, 3 + 3.92])
    assert np.isnan(limits[1]).all()
    assert limits[2] == pytest.approx([0, 0, 0])
    assert comparison.means[1, 0] == 81.5


def test_values_are_those_of_the_marks(records: list[Record]) -> None:
    predicted = marks(records) + 1.0
    ours, readers = compare_values(records, predicted, ISBI2015)
    spacings_mm = np.array([record.spacing_mm for record in records])
    np.testing.assert_allclose(ours.reference, measure(marks(records), spacings_mm))
    np.testing.assert_allclose(ours.differences, 0, atol=1e-9)  # all are shifted alike
    assert readers.title.count("reader against") == 1
    assert (np.abs(readers.differences).max(axis=0) > 0).all()
