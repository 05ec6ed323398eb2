"""From decoded films to batches: ordered, sliced for workers, augmented.

Order and augmentation depend on (seed, epoch, film) alone, so that N workers see what one would.
Batches come as functions that make them, for `ahead.py` to call on threads. It knows NumPy and
OpenCV, and neither threads nor the training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cephray.config import AugmentConfig
from cephray.data.augmentation import augment
from cephray.data.films import GrayImage
from cephray.data.first_points import draw_first_points
from cephray.data.opencv import cv2
from cephray.data.table import FilmTable

FloatArray = NDArray[np.float32]

# The last entry of a random generator's seed; one for each purpose, so that they are independent.
_ORDER, _AUGMENT, _HOLDOUT, _FIRST_POINTS = range(4)


@dataclass(frozen=True, eq=False)
class Batch:
    """One worker's share of a global batch of films."""

    indices: NDArray[np.int64]  # [b], rows of the table
    image: FloatArray  # [b, H, W, 3], grey values in [0, 1]
    truth: FloatArray  # [b, K, 2], normalised
    first_points: FloatArray  # [b, K, 2], normalised; NaN: the network's estimate
    extent_mm: FloatArray  # [b, 2]
    counts: FloatArray  # [K], films of the global batch that show each landmark


def holdout(
    count: int, fraction: float, seed: int, copies: Sequence[tuple[int, int]] = ()
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split film numbers into training and validation, at least one film in each.

    Args:
        count: N, at least 2.
        fraction: fraction of the films to validate on.
        seed: of the choice.
        copies: pairs of numbers that show the same film; where one of them is held out, so is
            the other, in addition to the fraction.

    Returns:
        Numbers of the training films, and of the validation films, both ascending.
    """
    order = np.random.default_rng([seed, _HOLDOUT]).permutation(count)
    held_out = set(order[: min(max(round(fraction * count), 1), count - 1)].tolist())
    while joined := {n for pair in copies if held_out & set(pair) for n in pair} - held_out:
        held_out |= joined
    numbers = np.arange(count)
    is_held_out = np.isin(numbers, list(held_out))
    return numbers[~is_held_out], numbers[is_held_out]


def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order in which an epoch visits the films: a permutation of [0, count)."""
    return np.random.default_rng([seed, epoch, _ORDER]).permutation(count)


def steps_per_epoch(count: int, global_batch_size: int) -> int:
    """Return the number of batches that visit `count` films."""
    return -(-count // global_batch_size)


def epoch_batches(
    count: int, global_batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Divide an epoch's order into the fewest batches that respect the size, nearly equal ones.

    Equal ones, because a last batch of a film or two would weigh as much as a whole one, and
    would leave workers without a film.

    Args:
        count: N films.
        global_batch_size: films in a batch at most.
        seed: of the order.
        epoch: number of the epoch.
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
    """Return functions that make one worker's share of each global batch, each film once an epoch.

    Args:
        table: the training films.
        augmentation: what is done to them.
        global_batch_size: films in a batch of all workers together, at most.
        seed: of order and augmentation.
        epoch: number of the epoch.
        rank: number of this worker, from 0.
        world_size: number of workers.
        steps_taken: batches to leave out, from the first on.
    """
    visible = np.asarray(np.isfinite(table.landmarks_norm).all(axis=-1))  # [N, K]
    extent_mm = table.extent_mm

    def make(whole: NDArray[np.int64]) -> Batch:
        mine = np.array_split(whole, world_size)[rank]
        images, points, first_points = [], [], []
        for index, image in zip(mine, table.fetch(mine.tolist()), strict=True):
            rng = np.random.default_rng([seed, epoch, int(index), _AUGMENT])
            image, landmarks = augment(image, table.landmarks_norm[index], rng, augmentation)
            images.append(image)
            points.append(landmarks)
            rng = np.random.default_rng([seed, epoch, int(index), _FIRST_POINTS])
            first_points.append(
                draw_first_points(landmarks, extent_mm[index], rng, augmentation.window_noise)
            )
        return Batch(
            indices=mine,
            image=to_input(images, table.image_size),
            truth=np.stack(points),
            first_points=np.stack(first_points),
            extent_mm=extent_mm[mine],
            counts=visible[whole].sum(axis=0).astype(np.float32),
        )

    batches = epoch_batches(len(table), global_batch_size, seed, epoch)
    return [partial(make, whole) for whole in batches[steps_taken:]]


def evaluation_batches(
    table: FilmTable, batch_size: int, rank: int = 0, world_size: int = 1
) -> list[Callable[[], tuple[NDArray[np.int64], FloatArray]]]:
    """Return functions that make (indices [b], image [b, H, W, 3]); each film comes once."""

    def make(indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], FloatArray]:
        return indices, to_input(table.fetch(indices.tolist()), table.image_size)

    mine = np.arange(len(table))[rank::world_size]
    starts = range(0, len(mine), batch_size)
    return [partial(make, mine[start : start + batch_size]) for start in starts]


def to_input(images: Sequence[GrayImage], size: tuple[int, int]) -> FloatArray:
    """Turn grey films into the network's input.

    Args:
        images: b films uint8 [H, W].
        size: (H, W).

    Returns:
        [b, H, W, 3], grey values in [0, 1].

    Raises:
        ValueError: a film has another size.
    """
    stacked = np.empty((len(images), *size, 3), np.float32)
    for target, image in zip(stacked, images, strict=True):
        if image.shape != size:
            raise ValueError(f"a film of {image.shape} where {size} is wanted")
        # NumPy takes seven times as long: its innermost loop is over the three channels.
        cv2.cvtColor(np.multiply(image, np.float32(1 / 255)), cv2.COLOR_GRAY2RGB, dst=target)
    return stacked
