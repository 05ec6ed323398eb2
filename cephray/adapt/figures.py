"""Figures of an adaptation: errors with intervals, the gain, and landmarks marked elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cephray.adapt.adaptation import Adaptation
from cephray.adapt.choose import UNCHANGED, film_means
from cephray.landmarks import LandmarkSet
from cephray.metrics import LEVEL_PERCENT

FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Mean:
    """A mean over films, with its 95 % interval by Student's t distribution."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Return the mean as JSON values."""
        return {"mean": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Elsewhere:
    """A landmark that the readers of the films mark at another place than the network.

    Args:
        name: name of the landmark.
        films: number of films on which it is marked.
        right, down: mean distance from the network's landmark to the mark, millimetres.
        is_shown: whether the distance differs from 0 beyond chance, tested for all landmarks and
            both directions together (Bonferroni).
    """

    name: str
    films: int
    right: Mean
    down: Mean
    is_shown: bool


@dataclass(frozen=True)
class Figures:
    """What an adaptation is worth.

    Args:
        before_mm, after_mm: mean radial error before and after, by cross-validation.
        gain_mm: their difference, of each film.
        twice_mm: by how much the error would fall further with twice as many films, or None if
            there are too few films to tell.
        landmarks: offset of each landmark that is marked on at least two films.
    """

    before_mm: Mean
    after_mm: Mean
    gain_mm: Mean
    twice_mm: float | None
    landmarks: tuple[Elsewhere, ...]

    @property
    def is_gain_shown(self) -> bool:
        """Whether the interval of the gain lies above 0."""
        return self.gain_mm.low > 0


def figures_of(adaptation: Adaptation, landmarks: LandmarkSet) -> Figures:
    """Compute the figures of an adaptation.

    Args:
        adaptation: what was learnt.
        landmarks: set of the K landmarks.
    """
    before, after = (film_means(e) for e in (adaptation.before_mm, adaptation.after_mm))
    twice_mm = None
    if adaptation.half_mm is not None and adaptation.candidate != UNCHANGED:
        # The part of the error that falls as 1 / films: half of it goes with twice as many.
        twice_mm = max(0.0, float((film_means(adaptation.half_mm) - after).mean()) / 2)
    return Figures(
        mean_of(before),
        mean_of(after),
        mean_of(before - after),
        twice_mm,
        tuple(_elsewhere(adaptation.offsets_mm, landmarks)),
    )


def mean_of(values: FloatArray, tests: int = 1) -> Mean:
    """Return the mean of at least two values with its interval.

    Args:
        values: [n].
        tests: number of intervals that are to hold all together.
    """
    count = len(values)
    error = float(values.std(ddof=1)) / count**0.5
    tail = (1 - LEVEL_PERCENT / 100) / 2 / tests
    reach = float(stats.t.ppf(1 - tail, count - 1)) * error
    value = float(values.mean())
    return Mean(value, value - reach, value + reach)


def _elsewhere(offsets_mm: FloatArray, landmarks: LandmarkSet) -> list[Elsewhere]:
    found = []
    for k, name in enumerate(landmarks.names):
        offsets = offsets_mm[:, k][np.isfinite(offsets_mm[:, k]).all(axis=-1)]
        if len(offsets) < 2:
            continue
        tests = 2 * len(landmarks)
        together = [mean_of(offsets[:, axis], tests) for axis in range(2)]
        is_shown = any(one.low > 0 or one.high < 0 for one in together)
        right, down = (mean_of(offsets[:, axis]) for axis in range(2))
        found.append(Elsewhere(name, len(offsets), right, down, is_shown))
    return sorted(found, key=lambda one: -np.hypot(one.right.value, one.down.value))
