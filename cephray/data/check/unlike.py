"""Marks whose shape, size, turn or place is unlike those of all other films of a data set.

What is usual, and how far films
usually lie from it, are medians, so that a few wrong films change neither. A finding says what
would explain the marks: swapped landmarks, mirrored marks, another scale. Knows no image.
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
"""With fewer films nothing can be said of what is usual."""

# Up to so many films, each one is compared with the others only. Of more, one changes no median.
_LEAVE_ONE_OUT = 30

# Largest usual distances, in multiples of the usual spread. Of the 300 films of ISBI 2015, each
# marked by two readers, 8 have a mark beyond them.
_MOST_SPREADS = 7.0
_MOST_PAIR_SPREADS = 6.0
_MOST_POSE_SPREADS = 5.5
_MOST_CENTRE_SPREADS = 6.0

# Spreads of heads in general, and the number of films that they weigh as much as. They matter for
# small data sets. Of shapes: in units of the root mean square distance from the centre.
_SPREAD, _LOG_SIZE, _DEGREES, _CENTRE = 0.055, 0.07, 5.0, 0.03
_PAIR_SPREAD, _PAIR_SHARE = 0.04, 0.25  # of the way between two landmarks; less for neighbours
_GENERAL_WEIGHT = 10
_LEAST_SHARE = 0.8  # a measured spread counts as at least this share of the general one

_RAYLEIGH_MEDIAN = 1.1774  # median distance of a round normal distribution, in its spreads
_NORMAL_MEDIAN = 0.6745  # median absolute deviation of a normal distribution, in its spreads
_SHARE_UNLIKE = 0.3  # of the landmarks: more than these far away, and the whole shape is unlike


@dataclass(frozen=True)
class Unlike:
    """One finding on one set of marks."""

    index: int  # of the set
    landmarks: tuple[int, ...]  # that the finding is about; empty if it is the whole set
    kind: str  # such as "far", "swapped", "mirrored", "size"
    amount: float = 0.0  # a distance in the unit of the marks, a factor, or degrees


@dataclass(frozen=True, eq=False)
class _Usual:
    """The usual values on the other films."""

    shape: ComplexArray  # [K]
    spread: FloatArray  # [K]
    pairs: ComplexArray  # [pairs], from the first to the second landmark
    pair_spread: FloatArray  # [pairs]


def find_unlike(
    points: FloatArray, films: Sequence[int], extents: FloatArray
) -> tuple[Unlike, ...]:
    """Find the marks that are unlike those of the other films.

    Args:
        points: [N, K, 2], each reader's marks of each film in one unit of length; NaN if missing.
        films: number of the film that each set of marks is of.
        extents: [N, 2], width and height of the film in the same unit.

    Returns:
        Findings in the order of the sets; none if there are fewer than FEWEST_FILMS films.
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
    general_pairs = np.fmin(_PAIR_SPREAD, _PAIR_SHARE * np.abs(pair))
    return _Usual(
        shape,
        _spread(np.abs(fitted - shape), _SPREAD, _RAYLEIGH_MEDIAN),
        pair,
        _spread(np.abs(pairs - pair), general_pairs, _RAYLEIGH_MEDIAN),
    )


def _spread(distances: FloatArray, general: FloatArray | float, of_normal: float) -> FloatArray:
    """Return the spread of each column: that of the films, and the general one where few are.

    Args:
        distances: [N, ...], distances from the median; NaN where missing.
        general: spread of heads in general.
        of_normal: median distance of a normal distribution of spread 1.
    """
    count = (~np.isnan(distances)).sum(axis=0)
    middle = np.full(distances.shape[1:], 0.0)
    middle[count > 0] = np.nanmedian(distances[:, count > 0], axis=0) / of_normal
    mixed = (count * middle**2 + _GENERAL_WEIGHT * general**2) / (count + _GENERAL_WEIGHT)
    spread: FloatArray = np.maximum(np.sqrt(mixed), _LEAST_SHARE * general)
    return spread


def _shape_findings(
    index: int, marks: ComplexArray, fitted: ComplexArray, a: complex, usual: _Usual
) -> Iterator[Unlike]:
    present = int((~np.isnan(marks)).sum())
    if np.isnan(a):  # too few marks, or all at one place
        return
    far = _far(fitted, usual)
    if far.sum() > _SHARE_UNLIKE * present:
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
        far: NDArray[np.bool_] = np.abs(fitted - usual.shape) > _MOST_SPREADS * usual.spread
    return far


def _swapped(
    fitted: ComplexArray, far: NDArray[np.bool_], usual: _Usual
) -> Iterator[tuple[int, int]]:
    """Find pairs of landmarks that lie at each other's place.

    The way from one landmark to its neighbour varies less than their places do, so that also
    neighbours are found that lie near their usual places when they are swapped.
    """
    first, second = _pairs(len(fitted))
    way = fitted[second] - fitted[first]
    with np.errstate(invalid="ignore"):
        unlike = np.abs(way - usual.pairs) > _MOST_PAIR_SPREADS * usual.pair_spread
        opposite = np.abs(way + usual.pairs) < 0.5 * np.abs(usual.pairs)
    for pair in np.flatnonzero(unlike & opposite):
        i, j = int(first[pair]), int(second[pair])
        exchanged = fitted.copy()
        exchanged[[i, j]] = fitted[[j, i]]
        if not _far(exchanged, usual)[[i, j]].any():
            yield i, j


def _explanation(marks: ComplexArray, usual: _Usual) -> str:
    """Return what was done to marks of the usual shape, if undoing it gives that shape again."""
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
        if _far(a * points + b, usual).sum() <= _SHARE_UNLIKE * len(marks) / 2:
            fits[kind] = abs(np.angle(a))
    # Mirrored marks fit when mirrored about any axis; the right one leaves them upright.
    return min(fits, key=lambda kind: fits[kind]) if fits else "unlike"


def _pose_findings(index: int, pose: FloatArray, others: FloatArray) -> Iterator[Unlike]:
    """Compare size, turn and place with those of the other films."""
    if np.isnan(pose).any():
        return
    usual = np.nanmedian(others, axis=0)  # [4]
    apart, around = pose - usual, others - usual
    for angles in (apart[None], around):  # a turn by 350 degrees is one by -10
        angles[:, 1] = (angles[:, 1] + 180) % 360 - 180
    general = (_LOG_SIZE, _DEGREES, _CENTRE, _CENTRE)
    spread = np.array(
        [
            float(_spread(np.abs(column), each, _NORMAL_MEDIAN))
            for column, each in zip(around.T, general, strict=True)
        ]
    )
    score = np.abs(apart) / spread
    if score[0] > _MOST_POSE_SPREADS:
        yield Unlike(index, (), "size", float(np.exp(apart[0])))
    if score[1] > _MOST_POSE_SPREADS:
        yield Unlike(index, (), "turned", float(apart[1]))
    # Marks in a wrong scale lie at a wrong place too; one finding is enough.
    if score[0] <= _MOST_POSE_SPREADS and score[1] <= _MOST_POSE_SPREADS:
        worst = 2 + int(np.argmax(score[2:]))
        if score[worst] > _MOST_CENTRE_SPREADS:
            kind = "right" if worst == 2 else "down"
            yield Unlike(index, (), kind, float(apart[worst]))


def _pairs(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    pairs = np.array(list(itertools.combinations(range(count), 2)), np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
