"""How far the classes of clinical measurements agree: predictions with the truth, and, for
comparison, reader with reader.

It knows records and landmarks in pixels, and no network.
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
    """Classes from one set of marks against those from another, taken for the right ones."""

    subject: str  # PREDICTION, or a reader
    against: str  # TRUTH, or a reader
    agreement: ClassAgreement

    @property
    def title(self) -> str:
        """The name of the comparison."""
        if self.subject == PREDICTION:
            return "prediction against the truth"
        return f"{self.subject} reader against {self.against} reader"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"subject": self.subject, "against": self.against, **self.agreement.to_json()}


def compare_classes(
    records: Sequence[Record], predicted_px: Points, landmarks: LandmarkSet
) -> tuple[ClassComparison, ...]:
    """Compare the classes of predictions with the truth's, then the readers' with each other's.

    Args:
        records: N films with their truth, and the marks of their readers.
        predicted_px: [N, K, 2], pixels of the films.
        landmarks: K landmarks.

    Returns:
        The comparisons; empty if the measurements need other landmarks.
    """
    if not measurable(landmarks):
        return ()
    spacings_mm = np.array([record.spacing_mm for record in records])

    def classes(marks_px: Sequence[Points] | Points) -> NDArray[np.int64]:
        return classify(np.stack(list(marks_px)).astype(np.float64), spacings_mm, landmarks)

    truth = classes([record.landmarks_px for record in records])
    found = [ClassComparison(PREDICTION, TRUTH, class_agreement(classes(predicted_px), truth))]
    nothing = np.full((len(landmarks), 2), np.nan)
    readers = dict.fromkeys(reader for record in records for reader in record.readers_px)
    by_reader = {
        reader: classes([record.readers_px.get(reader, nothing) for record in records])
        for reader in readers
    }
    for first, second in itertools.combinations(readers, 2):
        agreement = class_agreement(by_reader[second], by_reader[first])
        found.append(ClassComparison(second, first, agreement))
    return tuple(found)
