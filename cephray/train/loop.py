"""The training loop: epochs, validation, best epoch, early stop, against a small context.

The context says who this worker is, takes reports and checkpoints, and hands back the last one;
`launch.py` gives Ray's. The loop knows no Ray and no folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cephray import geometry
from cephray.config import Config
from cephray.data.ahead import Waiting, work_ahead
from cephray.data.pipeline import (
    epoch_batches,
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)
from cephray.data.table import Films, FilmTable
from cephray.errors import RunError
from cephray.metrics import summarise
from cephray.model.network import build_network
from cephray.train.checkpoint import Checkpoint, Progress, Row, save_checkpoint
from cephray.train.costs import memory_bytes as memory_in_use
from cephray.train.costs import time_exchange
from cephray.train.optimizer import DistributedAdam, build_optimizer
from cephray.train.step import (
    PredictStep,
    StepSums,
    TrainStep,
    build_predict_step,
    build_sum_over_workers,
    build_train_step,
)

Save = Callable[[Path], None]


class Context(Protocol):
    """What the loop asks of whatever runs it."""

    rank: int
    world_size: int
    threads: int  # that may prepare films

    def report(self, row: Row, save: Save) -> None:
        """Take the row of a finished epoch; rank 0 calls `save` with a folder to fill."""

    def last_checkpoint(self) -> Checkpoint | None:
        """Open the checkpoint to go on from; none for a new run."""


@dataclass(frozen=True)
class Replica:
    """One worker's network with all that moves it."""

    strategy: tf.distribute.Strategy
    model: keras.Model
    optimizer: DistributedAdam
    train_step: TrainStep
    predict_step: PredictStep
    sum_over_workers: Callable[[Any], Any]
    exchange_s: float  # that one exchange of all gradients takes

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averages in the weights' place, where there are averages."""
        self.optimizer.swap_averages()
        try:
            yield
        finally:
            self.optimizer.swap_averages()


def train(config: Config, films: Films, context: Context) -> Progress:
    """Train until the last epoch, or until validation stops getting better.

    Args:
        config: of the run.
        films: of the run; every worker holds the same tables.
        context: who this worker is.

    Returns:
        The progress at the end.

    Raises:
        RunError: the loss is not finite; names the step and its films.
    """
    replica = build_replica(config, films.training, context.world_size)
    progress = Progress(data_fingerprint=films.fingerprint)
    checkpoint = context.last_checkpoint()
    if checkpoint is not None:
        checkpoint.load_weights(replica.model)
        checkpoint.load_optimizer(replica.optimizer)
        replica.optimizer.swap_averages()
        progress = checkpoint.progress

    while progress.epoch < config.train.epochs and not _is_stale(
        progress, config.train.early_stop_patience
    ):
        row = run_epoch(config, films, context, replica, progress.epoch + 1)
        progress = progress.advance(row)

        def save(folder: Path, reached: Progress = progress) -> None:
            save_checkpoint(folder, config, reached, replica.model, replica.optimizer)

        with replica.averaged():
            context.report(row, save)
    return progress


def build_replica(config: Config, training: FilmTable, world_size: int) -> Replica:
    """Build the network and its optimiser for this worker, alike on all workers.

    Args:
        config: of the run.
        training: gives the length of an epoch, and the mean shape where it is the prior.
        world_size: more than one uses the multi-worker strategy of `TF_CONFIG`.
    """
    keras.utils.set_random_seed(config.train.seed)
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = (
        tf.distribute.MultiWorkerMirroredStrategy()
        if world_size > 1
        else tf.distribute.get_strategy()
    )
    steps = steps_per_epoch(len(training), config.train.global_batch_size)
    synchronise = world_size > 1 and config.model.sync_batch_norm
    with strategy.scope():
        with _precision(config.train.precision):
            model = build_network(config, synchronise)
        if config.model.detection_prior == "mean_shape":
            model.get_layer("detection").prior.assign(training.mean_shape)
        optimizer = build_optimizer(config.train, steps)
        optimizer.build(model.trainable_variables)
    return Replica(
        strategy,
        model,
        optimizer,
        build_train_step(model, optimizer, config.loss, strategy, config.train.accumulation_steps),
        build_predict_step(model),
        build_sum_over_workers(strategy),
        time_exchange(model.trainable_variables, config.train.exchange_dtype, strategy),
    )


@contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Build layers of a Keras dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def run_epoch(config: Config, films: Films, context: Context, replica: Replica, epoch: int) -> Row:
    """Train and validate for one epoch.

    Returns:
        The epoch's row: losses, errors in millimetres, speed, and the score, less is better.
    """
    started = time.perf_counter()
    sums, waited_s = _train_epoch(config, films.training, context, replica, epoch)
    train_s = time.perf_counter() - started
    row: Row = {
        "epoch": epoch,
        "loss": float(np.mean(sums.loss)),
        "detection_loss": float(np.mean(sums.detection_loss)),
        "refinement_loss": float(np.mean(sums.refinement_loss)),
        "train_coarse_mre_mm": float(sums.coarse_error_mm.sum() / sums.landmarks.sum()),
        "train_refined_mre_mm": float(sums.refined_error_mm.sum() / sums.landmarks.sum()),
    }
    score = -float(epoch)
    if films.validation is not None:
        with replica.averaged():
            coarse_mm, refined_mm = _validate(films.validation, config, context, replica)
        refined = summarise(refined_mm)
        row["coarse_mre_mm"] = summarise(coarse_mm).mre_mm
        row["refined_mre_mm"] = score = refined.mre_mm
        row["refined_sdr_2mm_percent"] = refined.sdr_percent[2.0]
    waited_percent, memory_bytes = _over_workers(
        context, replica, 100 * waited_s / train_s, memory_in_use()
    )
    row["films_per_s"] = len(films.training) / train_s
    row["waiting_percent"] = float(waited_percent.mean())
    row["exchange_percent"] = 100 * replica.exchange_s * len(sums.loss) / train_s
    row["memory_gb"] = float(memory_bytes.max()) / 1e9
    row["seconds"] = time.perf_counter() - started
    row["score"] = score
    return row


def _train_epoch(
    config: Config, table: FilmTable, context: Context, replica: Replica, epoch: int
) -> tuple[StepSums, float]:
    """Take all steps of an epoch.

    Returns:
        Each term as an array [steps], summed over workers; seconds that this worker waited for
        its films.
    """
    batches = training_batches(
        table,
        config.augment,
        config.train.global_batch_size,
        config.train.seed,
        epoch,
        context.rank,
        context.world_size,
    )
    waiting = Waiting(work_ahead(batches, context.threads))
    steps = [
        replica.train_step(batch.image, batch.truth, batch.extent_mm, batch.counts)
        for batch in waiting
    ]
    sums = StepSums(*replica.sum_over_workers(tf.stack(steps)).numpy().T)
    _require_finite(sums.loss, table, config, epoch)
    return sums, waiting.seconds


def _over_workers(context: Context, replica: Replica, *values: float) -> NDArray[np.float32]:
    """Return each value of every worker: [values, workers]."""
    table = np.zeros((len(values), context.world_size), np.float32)
    table[:, context.rank] = values
    gathered: NDArray[np.float32] = replica.sum_over_workers(tf.constant(table)).numpy()
    return gathered


def _require_finite(
    losses: NDArray[np.float32], table: FilmTable, config: Config, epoch: int
) -> None:
    if np.isfinite(losses).all():
        return
    step = int(np.flatnonzero(~np.isfinite(losses))[0])
    batches = epoch_batches(len(table), config.train.global_batch_size, config.train.seed, epoch)
    names = [table.films[index] for index in batches[step]]
    raise RunError(
        f"the loss is {losses[step]} at epoch {epoch}, step {step + 1} "
        f"(films {', '.join(names)}); the checkpoint of the epoch before is intact: lower "
        "train.learning_rate or set train.clip_norm, and start again"
    )


def _validate(
    table: FilmTable, config: Config, context: Context, replica: Replica
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the radial errors of both stages, [N, K] each, on every worker."""
    num_films, num_landmarks, _ = table.landmarks_norm.shape
    errors_mm = np.zeros((2, num_films, num_landmarks), np.float32)
    share = max(1, config.train.global_batch_size // context.world_size)
    extent_mm = table.extent_mm
    batches = evaluation_batches(table, share, context.rank, context.world_size)
    for indices, image in work_ahead(batches, context.threads):
        for stage, points in enumerate(replica.predict_step(image)):
            errors_mm[stage, indices] = geometry.radial_errors_mm(
                points.numpy(), table.landmarks_norm[indices], extent_mm[indices]
            )
    # Each film's row is zero on all workers but one.
    coarse_mm, refined_mm = replica.sum_over_workers(tf.constant(errors_mm)).numpy()
    return coarse_mm, refined_mm


def _is_stale(progress: Progress, patience: int | None) -> bool:
    """Tell whether the last `patience` epochs brought no better score."""
    scores = [row["score"] for row in progress.history]
    if patience is None or len(scores) <= patience:
        return False
    return min(scores[-patience:]) >= min(scores[:-patience])
