"""The check of all films and marks of a data set.

It collects faults and facts. `text.py` formats them for the terminal.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cephray.config import DataConfig
from cephray.data.check.doubtful import Doubt, find_doubtful
from cephray.data.check.unlike import FEWEST_FILMS
from cephray.data.copies import find_copies
from cephray.data.dataset import (
    MEAN,
    Comparison,
    Record,
    compare_readers,
    list_films,
    natural_key,
    read_dataset,
)
from cephray.data.films import check_landmarks, check_spacing, read_pixels
from cephray.errors import InputError
from cephray.landmarks import landmark_set
from cephray.storage import Place

FAR_APART_MM = 15.0
"""Distance between two readers' marks above which they are listed, as slipped or swapped."""

PLAUSIBLE_HEIGHT_MM = (150.0, 400.0)
"""Range of plausible film heights, millimetres. Cephalograms are 180 to 300 mm high."""

TRAINING = "train"


@dataclass(frozen=True)
class Fault:
    """A fault that makes films unusable.

    A landmark outside its film is a fault, since training refuses it. If the truth is the mean of
    the readers, a single reader's mark outside the film is also a fault, since an evaluation
    against this reader refuses it.

    Args:
        films: names of the films.
        message: description of the fault in one line.
    """

    films: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Pair:
    """Two copies of the same film in a data set.

    Args:
        films: names of the copies.
        splits: splits of the copies.
    """

    films: tuple[str, str]
    splits: tuple[str, str]

    @property
    def crosses(self) -> bool:
        """Whether the film is both in training and in a test split."""
        return self.splits[0] != self.splits[1] and TRAINING in self.splits


@dataclass(frozen=True, eq=False)
class Check:
    """The results of the check of a data set.

    Args:
        data: folder of the data set.
        landmarks: names of the K landmarks.
        splits: number of films by split.
        faults: faults of all films.
        records: records of the usable films.
        sizes_px: (width, height) of the film of each record.
        blank: usable films with a single grey value.
        readers: comparisons of the readers with each other, on the usable films.
        copies: pairs of copies among all films.
        doubtful: doubtful marks of all readable films, including unusable ones.
        compared: whether there are enough films to compare the shapes of marks.
    """

    data: Place
    landmarks: tuple[str, ...]
    splits: dict[str, int]
    faults: tuple[Fault, ...]
    records: tuple[Record, ...]
    sizes_px: tuple[tuple[int, int], ...]
    blank: tuple[str, ...]
    readers: tuple[Comparison, ...]
    copies: tuple[Pair, ...]
    doubtful: tuple[Doubt, ...]
    compared: bool

    @property
    def films(self) -> int:
        """Number of films in all splits."""
        return sum(self.splits.values())

    @property
    def unusable(self) -> list[str]:
        """Names of the films that cannot be used, in natural order."""
        return sorted({film for fault in self.faults for film in fault.films}, key=natural_key)

    @property
    def missing(self) -> dict[str, list[str]]:
        """Names of the usable films on which a landmark is missing, by landmark."""
        absent = {
            name: [r.film for r in self.records if np.isnan(r.landmarks_px[index]).any()]
            for index, name in enumerate(self.landmarks)
        }
        return {name: films for name, films in absent.items() if films}

    @property
    def implausible(self) -> list[str]:
        """Names of the usable films whose height in millimetres is implausible."""
        low, high = PLAUSIBLE_HEIGHT_MM
        return [
            record.film
            for record, (_, height) in zip(self.records, self.sizes_px, strict=True)
            if not low <= height * record.spacing_mm <= high
        ]

    def far_apart(self, comparison: Comparison) -> list[tuple[str, str, float]]:
        """Return film, landmark and distance in millimetres of marks that lie far apart.

        These are marks further apart than `FAR_APART_MM`, in descending order of the distance.
        """
        distances_mm = comparison.distances_mm
        found = [
            (self.records[n].film, self.landmarks[k], float(distances_mm[n, k]))
            for n, k in np.argwhere(distances_mm > FAR_APART_MM)
        ]
        return sorted(found, key=lambda mark: -mark[2])

    def to_json(self) -> dict[str, Any]:
        """Return the results as JSON values."""
        sizes_px, spacings_mm = Counter(self.sizes_px), Counter(r.spacing_mm for r in self.records)
        return {
            "data": str(self.data),
            "films": self.films,
            "splits": self.splits,
            "unusable": self.unusable,
            "faults": [{"films": list(f.films), "message": f.message} for f in self.faults],
            "sizes_px": [
                {"size_px": list(size), "films": n} for size, n in sizes_px.most_common()
            ],
            "spacings_mm": [
                {"spacing_mm": spacing, "films": n} for spacing, n in spacings_mm.most_common()
            ],
            "implausible": self.implausible,
            "blank": list(self.blank),
            "missing": [{"name": name, "films": films} for name, films in self.missing.items()],
            "doubtful": [
                {
                    "film": doubt.film,
                    "reader": doubt.reader,
                    "landmarks": list(doubt.landmarks),
                    "message": doubt.message,
                }
                for doubt in self.doubtful
            ],
            "readers": [self._comparison_json(comparison) for comparison in self.readers],
            "copies": [
                {"films": list(p.films), "splits": list(p.splits), "crosses_training": p.crosses}
                for p in self.copies
            ],
        }

    def _comparison_json(self, comparison: Comparison) -> dict[str, Any]:
        return {
            "reader": comparison.reader,
            "against": comparison.against,
            "mean_mm": mean(comparison.distances_mm),
            "landmarks": [
                {"name": name, "mean_mm": mean(column)}
                for name, column in zip(self.landmarks, comparison.distances_mm.T, strict=True)
            ],
            "far_apart": [
                {"film": film, "landmark": name, "distance_mm": round(distance_mm, 2)}
                for film, name, distance_mm in self.far_apart(comparison)
            ],
        }


def check_dataset(
    folder: Place, data: DataConfig, progress: Callable[[int], None] = lambda films: None
) -> Check:
    """Check all films and marks of a data set.

    Args:
        folder: folder of the data set.
        data: landmark set, reader and spacing.
        progress: called with 1 each time that a film has been read, which is at most twice for
            each film.

    Raises:
        InputError: If the folder does not contain a data set, or its films cannot be listed.
    """
    faults: list[Fault] = []

    def on_fault(films: Sequence[str], fault: InputError) -> None:
        found = Fault(tuple(films), str(fault))
        if found not in faults:  # a folder of annotations may serve several splits
            faults.append(found)

    listed = list_films(folder)
    records = read_dataset(folder, "all", data, on_fault)
    read: list[Record] = []
    read_sizes_px: list[tuple[int, int]] = []
    usable: list[Record] = []
    sizes_px: list[tuple[int, int]] = []
    blank: list[str] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for record, seen in zip(records, pool.map(_look, records), strict=True):
            progress(1)
            if isinstance(seen, InputError):
                on_fault([record.film], seen)
                continue
            size_px, is_blank = seen
            read.append(record)
            read_sizes_px.append(size_px)
            misplaced = list(_outside_faults(record, size_px, data.reader))
            for fault in misplaced:
                on_fault([record.film], fault)
            if misplaced:
                continue
            usable.append(record)
            sizes_px.append(size_px)
            if is_blank:
                blank.append(record.film)
    films = [
        (film, split, listed[split][film])
        for split in listed
        for film in sorted(listed[split], key=natural_key)
    ]
    pairs = find_copies([path for _, _, path in films], progress)
    names = landmark_set(data.landmarks).names
    same_film = {frozenset((films[i][0], films[j][0])) for i, j in pairs}
    return Check(
        data=folder,
        landmarks=names,
        splits={split: len(films) for split, films in listed.items() if films},
        faults=tuple(faults),
        records=tuple(usable),
        sizes_px=tuple(sizes_px),
        blank=tuple(blank),
        readers=tuple(c for c in compare_readers(usable, data.reader) if c.against != MEAN),
        copies=tuple(
            Pair((films[i][0], films[j][0]), (films[i][1], films[j][1])) for i, j in pairs
        ),
        doubtful=find_doubtful(read, read_sizes_px, names, same_film),
        compared=len(read) >= FEWEST_FILMS,
    )


def mean(distances_mm: Any) -> float | None:
    """Return the mean of the distances that are not NaN, or None if there are none."""
    present = distances_mm[~np.isnan(distances_mm)]
    return float(present.mean()) if present.size else None


def _look(record: Record) -> tuple[tuple[int, int], bool] | InputError:
    """Return a film's size and whether it is blank, or the fault that makes it unusable."""
    try:
        image = read_pixels(record.image_path)
        size_px = (image.shape[1], image.shape[0])
        check_spacing(record, size_px)
    except InputError as fault:
        return fault
    return size_px, bool(image.min() == image.max())


def _outside_faults(record: Record, size_px: tuple[int, int], truth: str) -> Iterator[InputError]:
    """Yield faults for marks outside a film that are, or contribute to, the truth."""
    try:
        check_landmarks(record, size_px)
    except InputError as fault:
        yield fault
        return
    for reader, marks_px in record.readers_px.items() if truth == MEAN else ():
        try:
            check_landmarks(replace(record, landmarks_px=marks_px), size_px)
        except InputError as fault:
            yield InputError(f"{reader} reader: {fault}")
