"""Agreement of the classes of measurements: of two readers, or of predictions with the truth.

It knows class numbers and what they mean, and no landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.clinical.measures import MEASUREMENTS, UNKNOWN, Measurement


@dataclass(frozen=True)
class ClassRecall:
    """Recall of one class: how many films of this class were predicted as such."""

    number: int
    meaning: str
    films: int
    agreeing: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values; the recall of a class without films is null."""
        return {
            "class": self.number,
            "meaning": self.meaning,
            "films": self.films,
            "recall_percent": _percent(self.agreeing, self.films),
        }


@dataclass(frozen=True)
class MeasurementAgreement:
    """Agreement of the classes of one measurement."""

    name: str
    classes: tuple[ClassRecall, ...]

    @property
    def films(self) -> int:
        """Films whose class is known on both sides."""
        return sum(recall.films for recall in self.classes)

    @property
    def agreeing(self) -> int:
        """Those of them whose class is the same."""
        return sum(recall.agreeing for recall in self.classes)

    @property
    def agreement_percent(self) -> float | None:
        """Fraction of films with the same class, or None if no film has a class on both sides."""
        return _percent(self.agreeing, self.films)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; null where no film counts."""
        return {
            "name": self.name,
            "films": self.films,
            "agreement_percent": self.agreement_percent,
            "classes": [recall.to_json() for recall in self.classes],
        }


@dataclass(frozen=True)
class ClassAgreement:
    """Agreement of the classes of all measurements."""

    measurements: tuple[MeasurementAgreement, ...]

    @property
    def agreement_percent(self) -> float | None:
        """Fraction of equal classes among those known on both sides, or None if there are none."""
        return _percent(
            sum(measurement.agreeing for measurement in self.measurements),
            sum(measurement.films for measurement in self.measurements),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values; null where no film counts."""
        return {
            "agreement_percent": self.agreement_percent,
            "measurements": [measurement.to_json() for measurement in self.measurements],
        }


def class_agreement(predicted_classes: NDArray[Any], true_classes: NDArray[Any]) -> ClassAgreement:
    """Compare classes: overall, for each measurement and for each class.

    Args:
        predicted_classes: [..., 8], in the order of `MEASUREMENTS`.
        true_classes: the same shape. A film counts in a measurement where neither is `UNKNOWN`
            (or NaN).

    Raises:
        ValueError: the shapes differ or do not end in 8, or a number is not that of a class.
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
        foreign = set(classes.tolist()) - set(range(count + 1))
        if foreign:
            raise ValueError(
                f"classes of {measurement.name} must be 1 to {count}, or {UNKNOWN} where not"
                f" known; got {', '.join(f'{number:g}' for number in sorted(foreign))}"
            )
    recalls = []
    for number, meaning in enumerate(measurement.meanings, 1):
        found = predicted[(true == number) & (predicted != UNKNOWN)]
        recalls.append(ClassRecall(number, meaning, len(found), int((found == number).sum())))
    return MeasurementAgreement(measurement.name, tuple(recalls))


def _percent(part: int, whole: int) -> float | None:
    return 100.0 * part / whole if whole else None
