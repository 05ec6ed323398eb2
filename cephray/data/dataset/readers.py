"""Distances between readers, and from the readers to the truth.

No system can be told to be better than its readers agree. It knows records, and nothing of what
the distances are used for.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.data.dataset.records import Record

MEAN, EACH = "mean", "each"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Distances of one reader's marks from another's, or from the truth, on N films."""

    reader: str  # or EACH
    against: str  # another reader, or MEAN
    distances_mm: NDArray[np.floating[Any]]  # [N, K]; NaN where either is missing

    @property
    def title(self) -> str:
        """The name of the comparison."""
        other = "the readers' mean" if self.against == MEAN else f"{self.against} reader"
        return f"{self.reader} reader against {other}"


def compare_readers(records: Sequence[Record], ground_truth: str) -> tuple[Comparison, ...]:
    """Compare the readers with the truth, then with each other.

    Args:
        records: N films.
        ground_truth: whose marks the truth is: a reader, or MEAN.

    Returns:
        One comparison for each pair of different marks; none if there are fewer than two readers.
        Of two readers each lies as far from their mean as the other: one comparison, of EACH.
    """
    readers = list(dict.fromkeys(reader for record in records for reader in record.readers_px))
    if len(readers) < 2:
        return ()
    found = []
    if ground_truth == MEAN:
        for reader in readers if len(readers) > 2 else readers[:1]:
            name = reader if len(readers) > 2 else EACH
            found.append(_compare(records, reader, MEAN, name))
    for first, second in itertools.combinations(readers, 2):
        pair = (first, second) if second == ground_truth else (second, first)
        found.append(_compare(records, *pair))
    return tuple(found)


def _compare(
    records: Sequence[Record], reader: str, against: str, name: str | None = None
) -> Comparison:
    distances_mm = np.stack([_apart_mm(record, reader, against) for record in records])
    return Comparison(name or reader, against, distances_mm)


def _apart_mm(record: Record, reader: str, against: str) -> NDArray[np.float64]:
    """Return the distances of two sets of marks on one film: [K]."""
    nothing = np.full_like(record.landmarks_px, np.nan)
    marks = record.readers_px.get(reader, nothing)
    if against == MEAN:  # which is of several marks only
        count = sum(~np.isnan(points) for points in record.readers_px.values())
        others = np.where(count > 1, record.landmarks_px, np.nan)
    else:
        others = record.readers_px.get(against, nothing)
    apart_mm: NDArray[np.float64] = np.linalg.norm(marks - others, axis=-1) * record.spacing_mm
    return apart_mm
