"""Agreement of measurement classes on films: predictions with the truth, readers with each other.

It knows records and landmarks in pixels, but no networks.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.clinical.agreement import ClassAgreement, class_agreement
from cephray.clinical.measures import classify, measurable
from cephray.data import Record
from cephray.landmarks import LandmarkSet

PREDICTION, TRUTH = "prediction", "truth"

Points = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ClassComparison:
    """Comparison of the classes from one set of marks with those from a reference.

    Args:
        subject: `PREDICTION`, or the name of a reader.
        against: the reference: `TRUTH`, or the name of a reader.
        agreement: agreement of the classes.
    """

    subject: str
    against: str
    agreement: ClassAgreement

    @property
    def title(self) -> str:
        """Heading of the comparison: the two sides in words."""
        if self.subject == PREDICTION:
            return "prediction against the truth"
        return f"{self.subject} reader against {self.against} reader"

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return {"subject": self.subject, "against": self.against, **self.agreement.to_json()}


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
    if not measurable(landmarks):
        return ()
    spacings_mm = np.array([record.spacing_mm for record in records])

    def classes(marks_px: Sequence[Points] | Points) -> NDArray[np.int64]:
        return classify(np.stack(list(marks_px)).astype(np.float64), spacings_mm, landmarks)

    truth = classes([record.landmarks_px for record in records])
    found = [ClassComparison(PREDICTION, TRUTH, class_agreement(classes(predicted_px), truth))]
    missing = np.full((len(landmarks), 2), np.nan)
    readers = dict.fromkeys(reader for record in records for reader in record.readers_px)
    by_reader = {
        reader: classes([record.readers_px.get(reader, missing) for record in records])
        for reader in readers
    }
    for first, second in itertools.combinations(readers, 2):
        agreement = class_agreement(by_reader[second], by_reader[first])
        found.append(ClassComparison(second, first, agreement))
    return tuple(found)
