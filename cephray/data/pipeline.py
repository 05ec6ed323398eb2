"""Batches from decoded films: ordered, split between workers, and augmented.

Order and augmentation depend only on seed, epoch and film, so that N workers together see the same
batches as one worker. Batches are returned as functions that build them, which `ahead.py` calls in
threads. It knows NumPy, but no threads and no training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cephray.config import AugmentConfig, fold_count
from cephray.data.augmentation import augment
from cephray.data.films import GrayImage
from cephray.data.first_points import draw_first_points
from cephray.data.table import FilmTable

FloatArray = NDArray[np.float32]

# Last entry of a random generator's seed. Each purpose has its own, so that they are independent.
_ORDER, _AUGMENT, _HOLDOUT, _FIRST_POINTS, _READER = range(5)


@dataclass(frozen=True, eq=False)
class Batch:
    """One worker's part of a global batch of films.

    If the batch has fewer films than there are workers, some workers get a black film without
    landmarks, of weight 0, because a network cannot be run on no film.

    Args:
        indices: [b], rows of the film table; [0] if the film is the black one.
        image: uint8 [b, H, W], grey values.
        truth: [b, K, 2], true landmarks, normalised; NaN where missing.
        first_points: [b, K, 2], centres of the first windows, normalised. NaN stands for the
            estimate of stage one.
        extent_mm: [b, 2], width and height of the frames, millimetres.
        counts: [K], number of films in the global batch on which each landmark is marked.
        weight: 1, or 0 if the film is the black one.
    """

    indices: NDArray[np.int64]
    image: NDArray[np.uint8]
    truth: FloatArray
    first_points: FloatArray
    extent_mm: FloatArray
    counts: FloatArray
    weight: float = 1.0


def holdout(
    count: int,
    fraction: float,
    seed: int,
    copies: Sequence[tuple[int, int]] = (),
    fold: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split films at random into training and validation films.

    Folds are disjoint: of `fold_count(fraction)` folds, each film is held out in one.

    Args:
        count: number of films, at least 2.
        fraction: fraction of the films to validate on. At least one film is held out, and at
            least one is not.
        seed: seed of the choice.
        copies: pairs of indices of films that are copies of each other. If one of them is held
            out, so is the other, in addition to the fraction.
        fold: number of the fold that is held out, from 0.

    Returns:
        Indices of the training films and of the validation films, each in ascending order.
    """
    order = np.random.default_rng([seed, _HOLDOUT]).permutation(count)
    size = min(max(round(fraction * count), 1), count - 1)
    left = order.tolist()
    held_out: set[int] = set()
    for number in range(fold + 1):
        is_last = fold > 0 and number == fold_count(fraction) - 1
        held_out = set(left if is_last else left[:size])
        while joined := {n for pair in copies if held_out & set(pair) for n in pair} - held_out:
            held_out |= joined
        left = [film for film in left if film not in held_out]
    numbers = np.arange(count)
    is_held_out = np.isin(numbers, list(held_out))
    return numbers[~is_held_out], numbers[is_held_out]


def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order of the films in an epoch, a permutation of 0 to `count` − 1."""
    return np.random.default_rng([seed, epoch, _ORDER]).permutation(count)


def steps_per_epoch(count: int, global_batch_size: int) -> int:
    """Return the number of batches in an epoch of `count` films."""
    return -(-count // global_batch_size)


def epoch_batches(
    count: int, global_batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Divide the films of an epoch into batches of nearly equal size.

    A small last batch would have the same weight as the others, and would leave workers without
    films. The sizes therefore differ by one film at most.

    Args:
        count: number of films.
        global_batch_size: maximum number of films in a batch.
        seed: seed of the order.
        epoch: number of the epoch.

    Returns:
        The smallest possible number of batches, each an array of film indices.
    """
    steps = steps_per_epoch(count, global_batch_size)
    return np.array_split(epoch_order(count, seed, epoch), steps)


def training_batches(
    table: FilmTable,
    augmentation: AugmentConfig,
    global_batch_size: int,
    seed: int,
    epoch: int,
    rank: int = 0,
    world_size: int = 1,
    steps_taken: int = 0,
) -> list[Callable[[], Batch]]:
    """Return functions that build one worker's parts of the global batches of an epoch.

    Over all workers, each film occurs once in an epoch.

    Args:
        table: training films.
        augmentation: random changes of the films.
        global_batch_size: maximum number of films in a batch, over all workers.
        seed: seed of order and augmentation.
        epoch: number of the epoch.
        rank: index of this worker, from 0.
        world_size: number of workers.
        steps_taken: number of batches at the beginning of the epoch to leave out.
    """
    truth = _drawn_landmarks(table, seed, epoch)
    visible = np.asarray(np.isfinite(truth).all(axis=-1))  # [N, K]
    extent_mm = table.extent_mm

    def make(whole: NDArray[np.int64]) -> Batch:
        mine = np.array_split(whole, world_size)[rank]
        counts = visible[whole].sum(axis=0).astype(np.float32)
        if not len(mine):
            return _black_film(table, counts)
        images, points, first_points = [], [], []
        for index, image in zip(mine, table.fetch(mine.tolist()), strict=True):
            rng = np.random.default_rng([seed, epoch, int(index), _AUGMENT])
            image, landmarks = augment(image, truth[index], rng, augmentation)
            images.append(image)
            points.append(landmarks)
            rng = np.random.default_rng([seed, epoch, int(index), _FIRST_POINTS])
            first_points.append(
                draw_first_points(landmarks, extent_mm[index], rng, augmentation.window_noise)
            )
        return Batch(
            indices=mine,
            image=stack_films(images, table.image_size),
            truth=np.stack(points),
            first_points=np.stack(first_points),
            extent_mm=extent_mm[mine],
            counts=counts,
        )

    batches = epoch_batches(len(table), global_batch_size, seed, epoch)
    return [partial(make, whole) for whole in batches[steps_taken:]]


def _drawn_landmarks(table: FilmTable, seed: int, epoch: int) -> FloatArray:
    """Return the landmarks that are the truth in an epoch, [N, K, 2], normalised.

    If the marks of several readers are the truth, those of one reader are drawn for each film.
    """
    if table.truths_norm is None:
        return table.landmarks_norm
    drawn = []
    for index, truths in enumerate(table.truths_norm):
        rng = np.random.default_rng([seed, epoch, index, _READER])
        drawn.append(truths[rng.integers(len(truths))])
    return np.stack(drawn)


def _black_film(table: FilmTable, counts: FloatArray) -> Batch:
    """Return the part of a worker that has no film in the batch."""
    points = np.full((1, len(counts), 2), np.nan, np.float32)
    return Batch(
        indices=np.zeros(0, np.int64),
        image=np.zeros((1, *table.image_size), np.uint8),
        truth=points,
        first_points=points,
        extent_mm=table.extent_mm[:1],
        counts=counts,
        weight=0.0,
    )


def evaluation_batches(
    table: FilmTable, batch_size: int, rank: int = 0, world_size: int = 1
) -> list[Callable[[], tuple[NDArray[np.int64], NDArray[np.uint8]]]]:
    """Return functions that build one worker's batches, without augmentation.

    Over all workers, each film occurs once.

    Args:
        table: films to evaluate on.
        batch_size: maximum number of films in a batch of this worker.
        rank: index of this worker, from 0.
        world_size: number of workers.

    Returns:
        Functions that return indices [b] of the table, and films, uint8 [b, H, W].
    """

    def make(indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        return indices, stack_films(table.fetch(indices.tolist()), table.image_size)

    mine = np.arange(len(table))[rank::world_size]
    starts = range(0, len(mine), batch_size)
    return [partial(make, mine[start : start + batch_size]) for start in starts]


def stack_films(films: Sequence[GrayImage], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Stack grey films of one size.

    Args:
        films: b films, uint8 [H, W].
        size: (H, W), pixels.

    Returns:
        uint8 [b, H, W].

    Raises:
        ValueError: If a film has another size.
    """
    for film in films:
        if film.shape != size:
            raise ValueError(f"films must have shape {size}; got {film.shape}")
    return np.stack(films)
