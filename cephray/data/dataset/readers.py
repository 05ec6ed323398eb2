"""Distances between the marks of readers, and between readers and the truth.

They limit what can be measured: an error smaller than the readers' disagreement cannot be
detected. It knows records, but not what the distances are used for.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.data.dataset.record import ALL, MEAN, Record

EACH = "each"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Distances of one reader's marks from a reference on N films.

    Args:
        reader: name of the reader, or `EACH`.
        against: the reference: another reader, or `MEAN`.
        distances_mm: [N, K], millimetres; NaN where either mark is missing.
    """

    reader: str
    against: str
    distances_mm: NDArray[np.floating[Any]]

    @property
    def title(self) -> str:
        """Heading of the comparison: the two sides in words."""
        other = "the readers' mean" if self.against == MEAN else f"{self.against} reader"
        return f"{self.reader} reader against {other}"


def compare_readers(records: Sequence[Record], ground_truth: str) -> tuple[Comparison, ...]:
    """Compare the readers with their mean, and with each other.

    Args:
        records: N films.
        ground_truth: reader whose marks are the truth, or `MEAN` or `ALL`.

    Returns:
        The comparisons with the mean, if it is the truth, then one for each pair of readers. Two
        readers have the same distance from their mean, which is given once as that of `EACH`.
        With fewer than two readers, there are no comparisons.
    """
    readers = list(dict.fromkeys(reader for record in records for reader in record.readers_px))
    if len(readers) < 2:
        return ()
    found = []
    if ground_truth in (MEAN, ALL):
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
    distances_mm = np.stack([_distances_mm(record, reader, against) for record in records])
    return Comparison(name or reader, against, distances_mm)


def _distances_mm(record: Record, reader: str, against: str) -> NDArray[np.float64]:
    """Return the distances between two sets of marks on one film: [K]."""
    missing = np.full_like(record.landmarks_px, np.nan)
    marks = record.readers_px.get(reader, missing)
    if against == MEAN:  # the mean of a single mark is the mark itself
        count = sum(~np.isnan(points) for points in record.readers_px.values())
        others = np.where(count > 1, record.landmarks_px, np.nan)
    else:
        others = record.readers_px.get(against, missing)
    distances: NDArray[np.float64] = np.linalg.norm(marks - others, axis=-1) * record.spacing_mm
    return distances
