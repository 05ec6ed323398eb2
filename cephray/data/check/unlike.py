"""Search for marks whose shape, size, rotation or position differs from those of all other films.

The usual shape and the usual deviations from it are medians, so that a few wrong films do not
affect them. A finding names an explanation, such as swapped landmarks, mirrored marks or another
scale. It knows points, but no images.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cephray.plausibility import ComplexArray, FloatArray
from cephray.plausibility import alignment as shapes

FEWEST_FILMS = 4
"""Minimum number of films for a comparison."""

# Maximum number of films for which each film is compared only with the others. With more films, a
# single one hardly affects the medians.
_LEAVE_ONE_OUT = 30

# Maximum deviations, in multiples of the spread. Of the 300 films of ISBI 2015, each marked by two
# readers, 8 have a mark that exceeds them.
_MAX_SPREADS = 7.0
_MAX_PAIR_SPREADS = 6.0
_MAX_POSE_SPREADS = 5.5
_MAX_CENTRE_SPREADS = 6.0

# General spreads of heads, with the weight of `_GENERAL_WEIGHT` films. They matter for small data
# sets. Spreads of shapes are in units of the root mean square distance from the centre.
_SPREAD, _LOG_SIZE, _DEGREES, _CENTRE = 0.055, 0.07, 5.0, 0.03
# Spread of the vector between two landmarks, and its maximum as a fraction of their distance.
_PAIR_SPREAD, _PAIR_FRACTION = 0.04, 0.25
_GENERAL_WEIGHT = 10
_MIN_FRACTION = 0.8  # minimum of a spread, as a fraction of the general spread

_RAYLEIGH_MEDIAN = 1.1774  # median distance of a 2D normal distribution with spread 1
_NORMAL_MEDIAN = 0.6745  # median absolute deviation of a normal distribution with spread 1
_MAX_FAR_FRACTION = 0.3  # fraction of far landmarks above which the whole set is wrong


@dataclass(frozen=True)
class Unlike:
    """A finding about one set of marks.

    Args:
        index: index of the set.
        landmarks: indices of the landmarks that it is about; empty if it is the whole set.
        kind: kind of the finding, such as "far", "swapped", "mirrored" or "size".
        amount: depending on the kind, a distance in the unit of the marks, a factor, an angle in
            degrees, a number of marks, or a fraction of the film's side.
    """

    index: int
    landmarks: tuple[int, ...]
    kind: str
    amount: float = 0.0


@dataclass(frozen=True, eq=False)
class _Usual:
    """The usual shape of marks, and the spreads of deviations from it."""

    shape: ComplexArray  # [K]
    spread: FloatArray  # [K]
    pairs: ComplexArray  # [pairs], vectors from the first to the second landmark
    pair_spread: FloatArray  # [pairs]


def find_unlike(
    points: FloatArray, films: Sequence[int], extents: FloatArray
) -> tuple[Unlike, ...]:
    """Find the marks that differ from those of the other films.

    Args:
        points: [N, K, 2], N sets of marks, one for each film and reader, in any unit of length;
            NaN where missing.
        films: index of the film of each set.
        extents: [N, 2], width and height of the film of each set, in the same unit.

    Returns:
        The findings in the order of the sets. There are none with fewer than `FEWEST_FILMS` films.
    """
    of_film = np.asarray(films)
    sets = shapes.to_complex(points)
    if len(np.unique(of_film)) < FEWEST_FILMS:
        return ()
    shape = shapes.usual_shape(sets)
    if np.isnan(shape).all():
        return ()
    fitted, a, b = shapes.fit_all(sets, shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        centres = -b / a
        poses = np.stack(
            [-np.log(np.abs(a)), -np.angle(a, deg=True), centres.real, centres.imag], axis=1
        )  # [N, 4]
    poses[:, 2:] /= extents
    found: list[Unlike] = []
    others = np.full(len(sets), True)
    usual = _usual(fitted)
    leave_out = len(np.unique(of_film)) <= _LEAVE_ONE_OUT
    for index in range(len(sets)):
        if leave_out:
            others = of_film != of_film[index]
            usual = _usual(fitted[others])
        about_shape = list(_shape_findings(index, sets[index], fitted[index], a[index], usual))
        found += about_shape
        if not any(finding.landmarks == () for finding in about_shape):
            found += _pose_findings(index, poses[index], poses[others])
    return tuple(found)


def _usual(fitted: ComplexArray) -> _Usual:
    first, second = _pairs(fitted.shape[1])
    pairs = fitted[:, second] - fitted[:, first]
    shape, pair = shapes.median(fitted), shapes.median(pairs)
    general_pairs = np.fmin(_PAIR_SPREAD, _PAIR_FRACTION * np.abs(pair))
    return _Usual(
        shape,
        _spread(np.abs(fitted - shape), _SPREAD, _RAYLEIGH_MEDIAN),
        pair,
        _spread(np.abs(pairs - pair), general_pairs, _RAYLEIGH_MEDIAN),
    )


def _spread(distances: FloatArray, general: FloatArray | float, of_normal: float) -> FloatArray:
    """Return the spread of each column, as a weighted mean of its own and the general spread.

    Args:
        distances: [N, ...], distances from the median; NaN where missing.
        general: general spread of heads.
        of_normal: median distance of a normal distribution with spread 1.
    """
    count = (~np.isnan(distances)).sum(axis=0)
    own = np.full(distances.shape[1:], 0.0)
    own[count > 0] = np.nanmedian(distances[:, count > 0], axis=0) / of_normal
    mixed = (count * own**2 + _GENERAL_WEIGHT * general**2) / (count + _GENERAL_WEIGHT)
    spread: FloatArray = np.maximum(np.sqrt(mixed), _MIN_FRACTION * general)
    return spread


def _shape_findings(
    index: int, marks: ComplexArray, fitted: ComplexArray, a: complex, usual: _Usual
) -> Iterator[Unlike]:
    present = int((~np.isnan(marks)).sum())
    if np.isnan(a):  # there are too few marks, or all are at one place
        return
    far = _far(fitted, usual)
    if far.sum() > _MAX_FAR_FRACTION * present:
        kind = _explanation(marks, usual)
        yield Unlike(index, (), kind, float(far.sum()))
        return
    named: set[int] = set()
    for i, j in _swapped(fitted, far, usual):
        if not named & {i, j}:
            named |= {i, j}
            yield Unlike(index, (i, j), "swapped")
    for k in np.flatnonzero(far):
        if k not in named:
            distance = abs(fitted[k] - usual.shape[k]) / abs(a)
            yield Unlike(index, (int(k),), "far", float(distance))


def _far(fitted: ComplexArray, usual: _Usual) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        far: NDArray[np.bool_] = np.abs(fitted - usual.shape) > _MAX_SPREADS * usual.spread
    return far


def _swapped(
    fitted: ComplexArray, far: NDArray[np.bool_], usual: _Usual
) -> Iterator[tuple[int, int]]:
    """Yield pairs of landmarks that lie at each other's usual place.

    The vector between two neighbours varies less than their positions. Swapped neighbours are
    therefore found even if both lie near their usual places.
    """
    first, second = _pairs(len(fitted))
    vector = fitted[second] - fitted[first]
    with np.errstate(invalid="ignore"):
        unlike = np.abs(vector - usual.pairs) > _MAX_PAIR_SPREADS * usual.pair_spread
        opposite = np.abs(vector + usual.pairs) < 0.5 * np.abs(usual.pairs)
    for pair in np.flatnonzero(unlike & opposite):
        i, j = int(first[pair]), int(second[pair])
        exchanged = fitted.copy()
        exchanged[[i, j]] = fitted[[j, i]]
        if not _far(exchanged, usual)[[i, j]].any():
            yield i, j


def _explanation(marks: ComplexArray, usual: _Usual) -> str:
    """Return the kind of mistake whose reversal gives the usual shape, or "unlike"."""
    undone = {
        "mirrored": -marks.conj(),
        "upside down": marks.conj(),
        "x and y swapped": 1j * marks.conj(),
        "moved up": np.roll(marks, 1),
        "moved down": np.roll(marks, -1),
    }
    fits: dict[str, float] = {}
    for kind, points in undone.items():
        a, b = shapes.fit(points, usual.shape)
        if np.isnan(a):
            continue
        if _far(a * points + b, usual).sum() <= _MAX_FAR_FRACTION * len(marks) / 2:
            fits[kind] = abs(np.angle(a))
    # Mirrored marks fit after a reflection about any axis; the right one needs least rotation.
    return min(fits, key=lambda kind: fits[kind]) if fits else "unlike"


def _pose_findings(index: int, pose: FloatArray, others: FloatArray) -> Iterator[Unlike]:
    """Yield findings for a size, rotation or position that differs from the other films."""
    if np.isnan(pose).any():
        return
    usual = np.nanmedian(others, axis=0)  # [4]
    deviation, of_others = pose - usual, others - usual
    for angles in (deviation[None], of_others):  # 350 degrees are -10 degrees
        angles[:, 1] = (angles[:, 1] + 180) % 360 - 180
    general = (_LOG_SIZE, _DEGREES, _CENTRE, _CENTRE)
    spread = np.array(
        [
            float(_spread(np.abs(column), each, _NORMAL_MEDIAN))
            for column, each in zip(of_others.T, general, strict=True)
        ]
    )
    score = np.abs(deviation) / spread
    if score[0] > _MAX_POSE_SPREADS:
        yield Unlike(index, (), "size", float(np.exp(deviation[0])))
    if score[1] > _MAX_POSE_SPREADS:
        yield Unlike(index, (), "turned", float(deviation[1]))
    # Marks with a wrong scale or rotation also have a wrong position; one finding is sufficient.
    if score[0] <= _MAX_POSE_SPREADS and score[1] <= _MAX_POSE_SPREADS:
        worst = 2 + int(np.argmax(score[2:]))
        if score[worst] > _MAX_CENTRE_SPREADS:
            kind = "right" if worst == 2 else "down"
            yield Unlike(index, (), kind, float(deviation[worst]))


def _pairs(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    pairs = np.array(list(itertools.combinations(range(count), 2)), np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
