"""Comparison of measurements on films: predictions with the truth, readers with each other.

It compares classes and values. It knows records and landmarks in pixels, but no networks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.clinical.agreement import ClassAgreement, class_agreement
from cephray.clinical.measures import classify, measurable, measure
from cephray.data import Record
from cephray.landmarks import LandmarkSet

PREDICTION, TRUTH = "prediction", "truth"

Points = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Sides:
    """What is compared with what.

    Args:
        subject: `PREDICTION`, or the name of a reader.
        against: the reference: `TRUTH`, or the name of a reader.
    """

    subject: str
    against: str

    @property
    def title(self) -> str:
        """Heading of the comparison: the two sides in words."""
        if self.subject == PREDICTION:
            return "prediction against the truth"
        return f"{self.subject} reader against {self.against} reader"


@dataclass(frozen=True)
class ClassComparison(Sides):
    """Comparison of the classes from one set of marks with those from a reference.

    Args:
        subject, against: see `Sides`.
        agreement: agreement of the classes.
    """

    agreement: ClassAgreement

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return {"subject": self.subject, "against": self.against, **self.agreement.to_json()}


@dataclass(frozen=True, eq=False)
class ValueComparison(Sides):
    """Comparison of the values from one set of marks with those from a reference.

    Source: Bland and Altman, Statistical methods for assessing agreement between two methods of
    clinical measurement, Lancet 1986;327:307-310.

    Args:
        subject, against: see `Sides`.
        values: [N, 8], of N films, in the order of `MEASUREMENTS`; NaN where unknown.
        reference: the values of the reference, of the same shape.
    """

    values: Points
    reference: Points

    @property
    def differences(self) -> Points:
        """Values less those of the reference: [N, 8]."""
        return self.values - self.reference

    @property
    def means(self) -> Points:
        """Means of the two sides: [N, 8]."""
        return (self.values + self.reference) / 2

    def limits(self) -> NDArray[np.float64]:
        """Return the mean difference, and the lower and the upper limit of agreement.

        The limits are 1.96 standard deviations of the differences below and above their mean.

        Returns:
            [8, 3]; NaN if fewer than two films have values on both sides.
        """
        found = np.full((self.values.shape[-1], 3), np.nan)
        for i, column in enumerate(self.differences.T):
            known = column[np.isfinite(column)]
            if len(known) > 1:
                bias, half = known.mean(), 1.96 * known.std(ddof=1)
                found[i] = bias, bias - half, bias + half
        return found


def compare_classes(
    records: Sequence[Record], predicted_px: Points, landmarks: LandmarkSet
) -> tuple[ClassComparison, ...]:
    """Compare the classes of predictions with the truth, and the classes of each pair of readers.

    Args:
        records: N films with their true landmarks and the marks of their readers.
        predicted_px: [N, K, 2], predicted landmarks, pixels of the films.
        landmarks: set of the K landmarks.

    Returns:
        The comparisons. The tuple is empty if the set lacks landmarks that the measurements need.
    """
    spacings_mm = np.array([record.spacing_mm for record in records])
    return tuple(
        ClassComparison(
            subject,
            against,
            class_agreement(*(classify(m, spacings_mm, landmarks) for m in (marks, reference))),
        )
        for subject, against, marks, reference in _sides(records, predicted_px, landmarks)
    )


def compare_values(
    records: Sequence[Record], predicted_px: Points, landmarks: LandmarkSet
) -> tuple[ValueComparison, ...]:
    """Compare the values of predictions with the truth, and the values of each pair of readers.

    The arguments and the order of the comparisons are those of `compare_classes`.
    """
    spacings_mm = np.array([record.spacing_mm for record in records])
    return tuple(
        ValueComparison(
            subject,
            against,
            *(measure(m, spacings_mm, landmarks) for m in (marks, reference)),
        )
        for subject, against, marks, reference in _sides(records, predicted_px, landmarks)
    )


def _sides(
    records: Sequence[Record], predicted_px: Points, landmarks: LandmarkSet
) -> Iterator[tuple[str, str, Points, Points]]:
    """Yield the names of the two sides of each comparison, and their marks [N, K, 2]."""
    if not measurable(landmarks):
        return
    truth = np.stack([record.landmarks_px for record in records]).astype(np.float64)
    yield PREDICTION, TRUTH, predicted_px.astype(np.float64), truth
    missing = np.full((len(landmarks), 2), np.nan)
    readers = dict.fromkeys(reader for record in records for reader in record.readers_px)
    marks = {
        reader: np.stack([record.readers_px.get(reader, missing) for record in records])
        for reader in readers
    }
    for first, second in itertools.combinations(readers, 2):
        yield second, first, marks[second].astype(np.float64), marks[first].astype(np.float64)
