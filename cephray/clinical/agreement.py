"""Agreement of measurement classes between two readers, or between predictions and the truth.

It knows class numbers and their meanings, but no landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.clinical.measures import MEASUREMENTS, UNKNOWN, Measurement


@dataclass(frozen=True)
class ClassRecall:
    """Recall of one class: how many of its films were predicted as such.

    Args:
        number: number of the class, from 1.
        meaning: meaning of the class in words.
        films: number of films whose true class this is, and whose predicted class is known.
        agreeing: number of these films that are predicted to be in this class.
    """

    number: int
    meaning: str
    films: int
    agreeing: int

    def to_json(self) -> dict[str, Any]:
        """Return the recall as JSON values. It is None if the class has no films."""
        return {
            "class": self.number,
            "meaning": self.meaning,
            "films": self.films,
            "recall_percent": _percent(self.agreeing, self.films),
        }


@dataclass(frozen=True)
class MeasurementAgreement:
    """Agreement of the classes of one measurement.

    Args:
        name: name of the measurement.
        classes: recall of each class, in order.
    """

    name: str
    classes: tuple[ClassRecall, ...]

    @property
    def films(self) -> int:
        """Number of films whose class is known on both sides."""
        return sum(recall.films for recall in self.classes)

    @property
    def agreeing(self) -> int:
        """Number of films whose class is the same on both sides."""
        return sum(recall.agreeing for recall in self.classes)

    @property
    def agreement_percent(self) -> float | None:
        """Percentage of films with the same class, or None if `films` is 0."""
        return _percent(self.agreeing, self.films)

    def to_json(self) -> dict[str, Any]:
        """Return the agreement as JSON values. Percentages without films are None."""
        return {
            "name": self.name,
            "films": self.films,
            "agreement_percent": self.agreement_percent,
            "classes": [recall.to_json() for recall in self.classes],
        }


@dataclass(frozen=True)
class ClassAgreement:
    """Agreement of the classes of all measurements, in the order of `MEASUREMENTS`."""

    measurements: tuple[MeasurementAgreement, ...]

    @property
    def agreement_percent(self) -> float | None:
        """Percentage of equal classes among those known on both sides, or None if none are."""
        return _percent(
            sum(measurement.agreeing for measurement in self.measurements),
            sum(measurement.films for measurement in self.measurements),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the agreement as JSON values. Percentages without films are None."""
        return {
            "agreement_percent": self.agreement_percent,
            "measurements": [measurement.to_json() for measurement in self.measurements],
        }


def class_agreement(predicted_classes: NDArray[Any], true_classes: NDArray[Any]) -> ClassAgreement:
    """Compare predicted with true classes.

    A film is left out of a measurement if its predicted or its true class is `UNKNOWN` or NaN.

    Args:
        predicted_classes: [..., 8], class numbers in the order of `MEASUREMENTS`.
        true_classes: class numbers, of the same shape.

    Returns:
        The agreement overall, of each measurement and of each class.

    Raises:
        ValueError: If the shapes differ or do not end in 8, or if a class does not exist.
    """
    predicted, true = (
        np.where(np.isnan(classes), UNKNOWN, classes)
        for classes in (predicted_classes, true_classes)
    )
    if predicted.shape != true.shape or predicted.shape[-1:] != (len(MEASUREMENTS),):
        raise ValueError(
            f"classes must both have shape [..., {len(MEASUREMENTS)}];"
            f" got {list(predicted.shape)} and {list(true.shape)}"
        )
    return ClassAgreement(
        tuple(
            _agreement(measurement, predicted[..., i].ravel(), true[..., i].ravel())
            for i, measurement in enumerate(MEASUREMENTS)
        )
    )


def _agreement(
    measurement: Measurement,
    predicted: NDArray[Any],
    true: NDArray[Any],
) -> MeasurementAgreement:
    count = len(measurement.meanings)
    for classes in (predicted, true):
        invalid = set(classes.tolist()) - set(range(count + 1))
        if invalid:
            raise ValueError(
                f"classes of {measurement.name} must be 1 to {count}, or {UNKNOWN} if"
                f" unknown; got {', '.join(f'{number:g}' for number in sorted(invalid))}"
            )
    recalls = []
    for number, meaning in enumerate(measurement.meanings, 1):
        found = predicted[(true == number) & (predicted != UNKNOWN)]
        recalls.append(ClassRecall(number, meaning, len(found), int((found == number).sum())))
    return MeasurementAgreement(measurement.name, tuple(recalls))


def _percent(part: int, whole: int) -> float | None:
    return 100.0 * part / whole if whole else None
