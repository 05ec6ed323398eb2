"""Tests order, division and augmentation: N workers see the same as one, and each film once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cephray.config import AugmentConfig, fold_count, load_config
from cephray.data.pipeline import (
    Batch,
    epoch_batches,
    evaluation_batches,
    holdout,
    stack_films,
    training_batches,
)
from cephray.data.table import FilmTable

MakeTable = Callable[[int], FilmTable]


@pytest.mark.parametrize(("count", "size"), [(1, 8), (8, 8), (9, 8), (11, 5), (150, 8)])
def test_each_film_occurs_once_in_an_epoch(count: int, size: int) -> None:
    batches = epoch_batches(count, size, seed=3, epoch=2)
    assert sorted(np.concatenate(batches)) == list(range(count))
    lengths = [len(batch) for batch in batches]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    assert len(batches) == -(-count // size)


def test_the_order_depends_only_on_seed_and_epoch() -> None:
    orders = [
        np.concatenate(epoch_batches(50, 8, seed, epoch)).tolist()
        for seed, epoch in ((0, 1), (0, 1), (0, 2), (1, 1))
    ]
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders}) == 3


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_together_see_the_batches_of_one_worker(
    workers: int, make_table: MakeTable
) -> None:
    table = make_table(11)
    augmentation = load_config(
        overrides=[f"augment.{name}.enabled=true" for name in AugmentConfig.model_fields]
    ).augment
    whole = [make() for make in training_batches(table, augmentation, 5, seed=4, epoch=7)]
    parts = [
        [make() for make in training_batches(table, augmentation, 5, 4, 7, rank, workers)]
        for rank in range(workers)
    ]
    for step, batch in enumerate(whole):
        of_step = [batches[step] for batches in parts]
        for name in ("indices", "image", "truth", "extent_mm"):
            joined = np.concatenate([getattr(part, name) for part in of_step])
            np.testing.assert_array_equal(joined, getattr(batch, name))
        for part in of_step:
            np.testing.assert_array_equal(part.counts, np.full(19, len(batch.indices)))


def test_a_worker_without_a_film_gets_a_black_one_that_does_not_count(
    make_table: MakeTable,
) -> None:
    table = make_table(5)
    table.landmarks_norm[:, 7] = np.nan
    of_workers = [training_batches(table, AugmentConfig(), 3, 0, 1, rank, 3) for rank in range(3)]
    full, part = zip(*([make() for make in batches] for batches in of_workers), strict=True)
    assert [batch.weight for batch in (*full, *part)] == [1, 1, 1, 1, 1, 0]
    black = part[2]
    assert black.indices.size == 0
    assert black.image.shape == part[0].image.shape
    assert not black.image.any()
    assert np.isnan(black.truth).all()
    assert (black.extent_mm > 0).all()
    np.testing.assert_array_equal(black.counts, [2] * 7 + [0] + [2] * 11)
    assert sorted(np.concatenate([batch.indices for batch in (*full, *part)])) == list(range(5))


def test_augmentation_differs_between_epochs(make_table: MakeTable) -> None:
    table = make_table(3)
    augmentation = load_config(
        overrides=[
            "augment.affine.enabled=true",
            "augment.window_noise.enabled=true",
            "augment.window_noise.probability=1",
        ]
    ).augment

    def batch_of(seed: int, epoch: int) -> Batch:
        [make] = training_batches(table, augmentation, 3, seed, epoch)
        return make()

    batches = [batch_of(0, 1), batch_of(0, 2), batch_of(1, 1)]
    rows = [int(np.flatnonzero(batch.indices == 1)[0]) for batch in batches]
    for name in ("image", "truth", "first_points"):
        of_film = [getattr(batch, name)[row] for batch, row in zip(batches, rows, strict=True)]
        for one, other in ((0, 1), (0, 2), (1, 2)):
            assert np.abs(of_film[one] - of_film[other]).max() > 1e-3, name


def test_counts_ignore_missing_landmarks(make_table: MakeTable) -> None:
    table = make_table(4)
    table.landmarks_norm[2, 5] = np.nan
    counts = sum(make().counts for make in training_batches(table, AugmentConfig(), 2, 0, 1))
    np.testing.assert_array_equal(counts, [4] * 5 + [3] + [4] * 13)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_marks_of_one_reader_are_drawn_where_all_are_the_truth(
    workers: int, make_table: MakeTable
) -> None:
    table = make_table(12)
    rng = np.random.default_rng(0)
    truths = tuple(
        rng.uniform(0.2, 0.8, (readers, 19, 2)).astype(np.float32) for readers in [2, 3, 1] * 4
    )
    truths[2][:, 5] = np.nan
    table = replace(table, truths_norm=truths)
    drawn: dict[int, set[int]] = {number: set() for number in range(12)}
    for epoch in range(20):
        counts = np.zeros(19)
        for rank in range(workers):
            for make in training_batches(table, AugmentConfig(), 5, 0, epoch, rank, workers):
                batch = make()
                counts += batch.counts if rank == 0 else 0
                for number, truth in zip(batch.indices.tolist(), batch.truth, strict=False):
                    same = [np.array_equal(truth, one, equal_nan=True) for one in truths[number]]
                    drawn[number].add(same.index(True))
        assert counts.tolist() == [12.0] * 5 + [11.0] + [12.0] * 13
    assert [len(readers) for readers in drawn.values()] == [2, 3, 1] * 4
    assert table.fingerprint != make_table(12).fingerprint


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_each_film_occurs_once_in_evaluation(workers: int, make_table: MakeTable) -> None:
    table = make_table(4)
    seen: list[int] = []
    for rank in range(workers):
        for make in evaluation_batches(table, 3, rank, workers):
            indices, image = make()
            seen += indices.tolist()
            assert image.shape == (len(indices), 96, 64)
            np.testing.assert_array_equal(image, [table.images[i] for i in indices])
    assert sorted(seen) == [0, 1, 2, 3]


@pytest.mark.parametrize("count", [2, 3, 150])
def test_holdout_divides_the_films(count: int) -> None:
    kept, held_out = holdout(count, 0.1, seed=0)
    assert sorted([*kept, *held_out]) == list(range(count))
    assert len(held_out) == max(1, round(count / 10))


@pytest.mark.parametrize(("count", "fraction"), [(150, 0.2), (150, 0.3), (31, 0.1), (7, 0.5)])
def test_folds_share_no_films_and_no_copies(count: int, fraction: float) -> None:
    rng = np.random.default_rng(count)
    copies = [tuple(rng.choice(count, 2, replace=False).tolist()) for _ in range(count // 10)]
    seen: list[int] = []
    for fold in range(fold_count(fraction)):
        kept, held_out = holdout(count, fraction, 3, copies, fold)
        assert sorted([*kept, *held_out]) == list(range(count))
        for pair in copies:
            assert len(set(held_out.tolist()) & set(pair)) in (0, 2)
        seen += held_out.tolist()
    assert sorted(seen) == list(range(count))


def test_the_fingerprint_depends_on_films_landmarks_and_spacing(make_table: MakeTable) -> None:
    assert make_table(3).fingerprint == make_table(3).fingerprint
    moved = make_table(3)
    moved.landmarks_norm[0, 0, 0] += 1e-3
    rescaled = make_table(3)
    rescaled.spacing_mm[1] *= 2
    tables = (make_table(3), make_table(4), moved, rescaled)
    assert len({table.fingerprint for table in tables}) == 4


def test_films_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"must have shape \(5, 7\); got \(7, 5\)"):
        stack_films([np.zeros((7, 5), np.uint8)], (5, 7))


def test_copies_are_held_out_together() -> None:
    plain_kept, plain_held = holdout(20, 0.2, seed=3)
    held = int(plain_held[0])
    kept, other, last = (int(number) for number in plain_kept[:3])
    _, held_out = holdout(20, 0.2, 3, [(held, kept), (kept, other)])  # three copies of a film
    assert set(held_out) == {*plain_held.tolist(), kept, other}
    same_kept, same_held = holdout(20, 0.2, 3, [(kept, last)])  # both are training films
    assert same_kept.tolist() == plain_kept.tolist()
    assert same_held.tolist() == plain_held.tolist()
