"""The choice of how much to change, by cross-validation over the films.

Nothing is chosen by how well a change fits the films that it was fitted to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.adapt.fit import Moments, fit_change, folds, shrinkage, total
from cephray.adapt.frozen import DenseLayers, FrozenNetwork, HiddenChange, SeenFilm
from cephray.adapt.tuning import Tuner

FloatArray = NDArray[np.floating[Any]]

MOST_FOLDS = 10
SEED = 0


@dataclass(frozen=True)
class Candidate:
    """A kind of change.

    Args:
        name: in words.
        ridge: penalty of the change of the last layer's kernel, as in `fit_change`. None if
            nothing is changed.
        rank: rank of the change of the hidden layer's kernel, which is fitted thereafter. If 0,
            the hidden layer stays as it is.
    """

    name: str
    ridge: float | None
    rank: int = 0


UNCHANGED = Candidate("none", None)
CANDIDATES = (
    UNCHANGED,
    Candidate("an offset for each landmark", math.inf),
    *(Candidate(f"the last layer of each head (ridge {r:g})", r) for r in (10.0, 3.0, 1.0, 0.3)),
    Candidate("the two dense layers of each head", math.inf, rank=4),
)
"""From the smallest change to the largest."""


@dataclass(frozen=True, eq=False)
class Validation:
    """What a candidate does on films that it was not fitted to.

    Args:
        errors_mm: [N, K], radial errors; NaN where a landmark is not marked.
        spreads_mm: [N, K], spreads that the network expects, or None if it estimates none.
    """

    errors_mm: FloatArray
    spreads_mm: FloatArray | None


def film_means(errors_mm: FloatArray) -> FloatArray:
    """Return the mean error of each film that has marks.

    Args:
        errors_mm: [N, K], radial errors; NaN where a landmark is not marked.
    """
    known = np.isfinite(errors_mm)
    with_marks = known.any(axis=1)
    sums = np.where(known, errors_mm, 0.0).sum(axis=1)
    means: FloatArray = sums[with_marks] / known.sum(axis=1)[with_marks]
    return means


@dataclass(frozen=True, eq=False)
class Lesson:
    """What some of the films tell, from which any candidate is fitted.

    Args:
        films: indices of the films.
        sums: over the windows of the films.
        means: [K, 2], mean offsets, in the unit of the heads.
        factors: [K], by which they are shrunk.
    """

    films: tuple[int, ...]
    sums: Moments
    means: FloatArray
    factors: FloatArray


@dataclass(frozen=True, eq=False)
class Fitted:
    """Dense layers that were fitted to films.

    Args:
        layers: the layers.
        hidden_change: by which the hidden layer differs from that of the network, or None.
    """

    layers: DenseLayers
    hidden_change: HiddenChange | None = None


class Trials:
    """Fits changes to some of the films, and measures them on others.

    Args:
        network: network to change.
        films: what it sees of the films.
    """

    def __init__(self, network: FrozenNetwork, films: Sequence[SeenFilm]) -> None:
        self._network = network
        self._tuner: Tuner | None = None
        self.films = films
        self.marks_norm = np.stack([seen.film.landmarks_norm for seen in films])
        self.extent_mm = np.array([seen.film.extent_mm for seen in films])[:, None]
        found, spreads = zip(
            *(network.follow(seen, network.layers) for seen in films), strict=True
        )
        self.offsets = (self.marks_norm - np.stack(found)) / network.unit  # [N, K, 2]
        self._spreads = None if spreads[0] is None else np.stack(spreads)  # [N, K]

    @property
    def offsets_mm(self) -> FloatArray:
        """Distances from the unchanged network's landmarks to the marks: [N, K, 2]."""
        distances: FloatArray = self.offsets * self._network.unit * self.extent_mm
        return distances

    def learn(self, films: Sequence[int]) -> Lesson:
        """Return what films tell, given by their indices."""
        sums = total([self.films[i].sums for i in films])
        chosen = list(films)
        spreads = None if self._spreads is None else self._spreads[chosen]
        return Lesson(tuple(chosen), sums, *shrinkage(self.offsets[chosen], spreads))

    def fit(self, candidate: Candidate, lesson: Lesson) -> Fitted:
        """Fit a change to what films tell."""
        network = self._network.layers
        if candidate.ridge is None:
            return Fitted(network)
        change = fit_change(lesson.sums, candidate.ridge, lesson.means, lesson.factors)
        layers = DenseLayers(network.hidden, network.last.changed(*change))
        if not candidate.rank:
            return Fitted(layers)
        windows = [self.films[i].windows for i in lesson.films]
        if self._tuner is None:
            self._tuner = Tuner(network)
        hidden, last = self._tuner.fit(windows, layers, candidate.rank, SEED)
        return Fitted(DenseLayers(hidden.applied(network.hidden), last), hidden)

    def measure(self, layers: DenseLayers, films: Sequence[int]) -> Validation:
        """Measure the errors with other dense layers on films, given by their indices."""
        errors, spreads = [], []
        for i in films:
            points, spread = self._network.follow(self.films[i], layers)
            distances_mm = (points - self.marks_norm[i]) * self.extent_mm[i]
            errors.append(np.linalg.norm(distances_mm, axis=-1))
            if spread is not None:
                spreads.append(spread * self.extent_mm[i, 0, 1])
        return Validation(np.stack(errors), np.stack(spreads) if spreads else None)

    def validate(
        self,
        candidates: Sequence[Candidate],
        fraction: float = 1.0,
        progress: Callable[[int], None] = lambda films: None,
    ) -> list[Validation]:
        """Measure candidates on each film, fitted to other films.

        Args:
            candidates: candidates to measure.
            fraction: fraction of the other films to fit to.
            progress: called with the number of films done since the last call.
        """
        count = len(self.films)
        parts: list[list[Validation]] = [[] for _ in candidates]
        order: list[int] = []
        for number, held_out in enumerate(folds(count, MOST_FOLDS, SEED)):
            others = np.setdiff1d(np.arange(count), held_out)
            if fraction < 1:
                rng = np.random.default_rng([SEED, number])
                others = rng.choice(others, max(1, round(fraction * len(others))), replace=False)
            order += held_out.tolist()
            lesson = self.learn(others.tolist())
            for part, candidate in zip(parts, candidates, strict=True):
                layers = self.fit(candidate, lesson).layers
                part.append(self.measure(layers, held_out.tolist()))
            progress(len(held_out))
        back = np.argsort(order)
        return [_join(part, back) for part in parts]


def choose(validations: Sequence[Validation]) -> int:
    """Return the index of the candidate to take.

    An offset that is shrunk does little harm, and is taken if its error is smaller. A change of
    more is taken only if it is better by more than a standard error, for with few films the
    smallest error is often one of chance.

    Args:
        validations: of `CANDIDATES`, from the smallest change to the largest.
    """
    errors = [film_means(one.errors_mm) for one in validations]
    chosen = int(np.argmin([one.mean() for one in errors[:2]]))
    for index, larger in enumerate(errors[2:], 2):
        gains = errors[chosen] - larger
        if len(gains) > 1 and gains.mean() > gains.std(ddof=1) / math.sqrt(len(gains)):
            chosen = index
    return chosen


def _join(parts: Sequence[Validation], back: NDArray[np.int64]) -> Validation:
    errors_mm = np.concatenate([part.errors_mm for part in parts])[back]
    spreads = [part.spreads_mm for part in parts if part.spreads_mm is not None]
    return Validation(errors_mm, np.concatenate(spreads)[back] if spreads else None)
