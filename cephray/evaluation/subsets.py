"""Subsets of an evaluation: films that are not in Training, each film once, agreed landmarks.

It chooses films and landmarks, and knows no errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.data import Record, find_copies, list_films
from cephray.landmarks import LandmarkSet
from cephray.storage import Place

TRAINING = "train"


@dataclass(frozen=True)
class Copies:
    """Films that show the same as another, found by their pictures.

    Args:
        in_training: its copy in Training for each film that has one, or None if there are no
            Training films to compare with.
        repeated: film: the earlier film of the same split that it repeats.
    """

    in_training: dict[str, str] | None
    repeated: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"in_training": self.in_training, "repeated": self.repeated}


@dataclass(frozen=True, eq=False)
class Subset:
    """Some of the N films and K landmarks of a measurement, under a name."""

    name: str
    title: str
    films: NDArray[np.bool_]  # [N]
    landmarks: NDArray[np.bool_]  # [K]

    def of(self, errors_mm: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Return its part of the errors [N, K]."""
        part: NDArray[np.floating[Any]] = errors_mm[np.ix_(self.films, self.landmarks)]
        return part


def training_films(folder: Place, records: Sequence[Record]) -> dict[str, Place]:
    """List the Training films, or none if films of Training are measured.

    Args:
        folder: of the data set.
        records: of the films measured on.
    """
    if any(record.split == TRAINING for record in records):
        return {}
    return list_films(folder).get(TRAINING, {})


def find_repeats(
    records: Sequence[Record],
    training: dict[str, Place],
    progress: Callable[[int], None] = lambda films: None,
) -> Copies:
    """Find the films that are in Training as well, and those that repeat an earlier one.

    Args:
        records: of the films measured on.
        training: film: image file.
        progress: called with the number of films read since the last call.
    """
    names = [*training, *(record.film for record in records)]
    paths = [*training.values(), *(record.image_path for record in records)]
    in_training: dict[str, str] = {}
    repeated: dict[str, str] = {}
    for i, j in find_copies(paths, progress):
        if j >= len(training):
            (in_training if i < len(training) else repeated).setdefault(names[j], names[i])
    return Copies(in_training if training else None, repeated)


def choose_subsets(
    films: Sequence[str], copies: Copies | None, landmarks: LandmarkSet
) -> tuple[Subset, ...]:
    """Choose the subsets that a measurement allows.

    Args:
        films: N names.
        copies: films that occur twice, or None if they were not looked for.
        landmarks: K landmarks, and which of them are contested.
    """
    every_film, every_landmark = np.ones(len(films), bool), np.ones(len(landmarks), bool)
    seen = (copies.in_training or {}) if copies else {}
    repeated = copies.repeated if copies else {}
    unseen = np.array([film not in seen for film in films], bool)
    once = unseen & np.array([film not in repeated for film in films], bool)
    agreed = np.array(
        [mark.abbreviation not in landmarks.contested for mark in landmarks.landmarks]
    )

    chosen: list[Subset] = []
    if copies is not None and copies.in_training is not None:
        chosen.append(
            Subset("without_training_copies", "no copy in Training", unseen, every_landmark)
        )
    if repeated:
        title = f"{chosen[0].title}, each film once" if chosen else "each film once"
        chosen.append(Subset("without_copies", title, once, every_landmark))
    if not agreed.all():
        names = ", ".join(n for n, kept in zip(landmarks.names, agreed, strict=True) if not kept)
        without = f"without {names}"
        least = chosen[-1] if chosen else None
        chosen.append(Subset("without_contested_landmarks", without, every_film, agreed))
        if least is not None:
            title = f"{least.title}, {without}"
            chosen.append(Subset(f"{least.name}_and_contested_landmarks", title, once, agreed))
    return tuple(chosen)
