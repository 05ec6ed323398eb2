"""Tests the agreement of classes by hand, and on published predictions and marks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cephray.clinical.agreement import class_agreement
from cephray.clinical.measures import MEASUREMENTS, classify
from cephray.config import DataConfig
from cephray.data import read_dataset
from cephray.data.dataset.record import Split


def of_anb(*numbers: float) -> NDArray[np.floating[Any]]:
    """Return classes of ANB. The classes of the other measurements are unknown."""
    return np.array([[number, *[0] * 7] for number in numbers], float)


def test_agreement_by_hand() -> None:
    predicted, true = of_anb(1, 1, 2, 3, 3, 0, 1), of_anb(1, 1, 1, 1, 3, 3, 0)
    agreement = class_agreement(predicted, true)
    assert agreement.agreement_percent == 60.0
    anb, *others = agreement.measurements
    assert (anb.name, anb.films, anb.agreeing) == ("ANB", 5, 3)
    assert [(c.films, c.agreeing) for c in anb.classes] == [(4, 2), (0, 0), (1, 1)]
    assert all(other.films == 0 for other in others)


def test_json_of_a_class_without_films_is_null() -> None:
    found = class_agreement(of_anb(1, 1), of_anb(1, 2)).to_json()
    assert found["agreement_percent"] == 50.0
    assert found["measurements"][0] == {
        "name": "ANB",
        "films": 2,
        "agreement_percent": 50.0,
        "classes": [
            {"class": 1, "meaning": "skeletal class I", "films": 1, "recall_percent": 100.0},
            {"class": 2, "meaning": "skeletal class II", "films": 1, "recall_percent": 0.0},
            {"class": 3, "meaning": "skeletal class III", "films": 0, "recall_percent": None},
        ],
    }
    assert found["measurements"][7]["agreement_percent"] is None
    assert json.loads(json.dumps(found)) == found


def test_measurements_are_weighted_by_their_films() -> None:
    predicted, true = np.zeros((3, 8)), np.zeros((3, 8))
    true[:, 0] = predicted[:, 0] = 1
    true[0, 7], predicted[0, 7] = 4, 3
    assert class_agreement(predicted, true).agreement_percent == 75.0


def test_nan_is_an_unknown_class() -> None:
    agreement = class_agreement(of_anb(1, np.nan, 2), of_anb(1, 1, np.nan))
    assert agreement.measurements[0].films == 1


def test_agreement_without_films_is_none() -> None:
    found = class_agreement(np.zeros((0, 8), int), np.zeros((0, 8), int))
    assert found.agreement_percent is None
    assert [m.name for m in found.measurements] == [m.name for m in MEASUREMENTS]


def test_invalid_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[\.\.\., 8\]; got \[2, 8\] and \[3, 8\]"):
        class_agreement(np.ones((2, 8)), np.ones((3, 8)))
    with pytest.raises(ValueError, match=r"\[\.\.\., 8\]; got \[7\] and \[7\]"):
        class_agreement(np.ones(7), np.ones(7))
    with pytest.raises(ValueError, match=r"ANB must be 1 to 3, or 0 if unknown; got -1, 4"):
        class_agreement(of_anb(1, 2), of_anb(4, -1))


def test_agreement_of_published_predictions_with_the_labels(shared: Path) -> None:
    """DeLR-ConvNeXtV2 on Test1 agrees in 83.9 % of the classes, and least in SNA."""
    predicted = json.loads((shared / "data" / "delr_test1" / "predictions.json").read_text())
    records = read_dataset(shared / "data" / "isbi2015", "test1", DataConfig())
    agreement = class_agreement(
        classify(np.array([predicted[record.film] for record in records]), 0.1),
        np.array([record.class_labels for record in records]),
    )
    assert agreement.agreement_percent == pytest.approx(83.9, abs=0.05)
    worst = min(agreement.measurements, key=lambda measurement: measurement.agreeing)
    assert worst.name == "SNA"
    assert 100 * worst.agreeing / worst.films == pytest.approx(72.7, abs=0.05)


def test_agreement_of_the_two_readers(shared: Path) -> None:
    """It is 79.6 % on the training films and 78.9 % on Test1."""
    known: dict[Split, float] = {"train": 79.6, "test1": 78.9}
    for split, percent in known.items():
        records = read_dataset(shared / "data" / "isbi2015", split, DataConfig())
        junior, senior = (
            classify(np.stack([record.readers_px[reader] for record in records]), 0.1)
            for reader in ("junior", "senior")
        )
        assert class_agreement(junior, senior).agreement_percent == pytest.approx(
            percent, abs=0.05
        )
