"""The training loop: epochs, validation, checkpoints and early stopping.

What ends a run early is agreed upon by all workers, in the sum that they take of each step's
report: a loss that is not finite, or a wish to stop. None leaves the others waiting for it.

The context names this worker, takes reports and checkpoints, and returns the last checkpoint;
`worker.py` has the one for Ray. The loop knows neither Ray nor folders.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cephray import geometry
from cephray.checkpoint import Checkpoint, Content, Progress, Row, open_initial
from cephray.config import Config
from cephray.data import (
    Batch,
    Films,
    FilmTable,
    Waiting,
    epoch_batches,
    evaluation_batches,
    training_batches,
    work_ahead,
)
from cephray.errors import RunError
from cephray.metrics import summarise
from cephray.model import to_input
from cephray.training.costs import memory_bytes as memory_in_use
from cephray.training.replica import Replica, build_replica
from cephray.training.schedule import Schedule
from cephray.training.step import StepSums


class _NotFiniteError(RunError):
    """The loss is infinite or no number."""


Tensor = Any
BetweenSteps = Callable[[Callable[[], Progress | None]], None]

# A step's report is read while so many later ones run, so that no step waits for it.
_STEPS_BEHIND = 2


class Member(Protocol):
    """A worker among the workers of a run."""

    rank: int
    world_size: int
    threads: int  # that may prepare films

    def should_stop(self) -> bool:
        """Return whether this worker was asked to stop; asked at every step."""

    def advance(self) -> None:
        """Note that this worker came further, by a step or by a batch of validation."""


class Context(Member, Protocol):
    """What the loop needs from the process that runs it."""

    def report(self, row: Row) -> None:
        """Take the row of a finished epoch."""

    @property
    def can_save(self) -> bool:
        """Whether this worker saves checkpoints, and does not write one just now."""

    @property
    def must_save(self) -> bool:
        """Whether to save at every chance, since a node is about to be taken away."""

    def save(self, content: Callable[[], Content]) -> None:
        """Begin to write a checkpoint, once the one before is complete; only rank 0 does.

        `content` is called then, and copies what the checkpoint holds into memory.

        Raises:
            RunError: the one before could not be written; the loop tells the other workers.
        """

    def intact(self) -> str:
        """Return which checkpoint is intact, after the last one was written."""

    def pause(self, progress: Progress) -> None:
        """Take the progress within an epoch, before the run stops."""

    def finish(self) -> None:
        """Wait until the last checkpoint is complete.

        Raises:
            RunError: it could not be written.
        """

    def show(self, line: str) -> None:
        """Show a line to the user; of all workers, that of rank 0 alone."""

    def last_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint to resume from, or None for a new run."""


def train(config: Config, films: Films, context: Context) -> Progress:
    """Train until the last epoch, or until validation stops getting better.

    Args:
        config: of the run.
        films: of the run; every worker holds the same tables.
        context: who this worker is.

    Returns:
        The progress at the end.

    Raises:
        RunError: the loss is not finite, or a checkpoint could not be saved; on all workers.
    """
    checkpoint = context.last_checkpoint()
    begins_with = None
    if checkpoint is None and config.train.init is not None:
        begins_with = open_initial(config.train.init)
    replica = build_replica(
        config, films.training, context.rank, context.world_size, context.show, begins_with
    )
    progress = Progress(data_fingerprint=films.fingerprint)
    if checkpoint is not None:
        checkpoint.load_weights(replica.model)
        checkpoint.load_optimizer(replica.optimizer)
        replica.optimizer.swap_averages()
        progress = checkpoint.progress

    schedule = Schedule(config.train.checkpoint_every)

    def save(reached: Progress) -> None:
        # The statistics of the films are computed once, by the worker that saves.
        context.save(lambda: replica.content(config, reached, films.training.shapes))
        schedule.saved()

    def save_within_epoch(reached: Callable[[], Progress | None]) -> None:
        if (context.must_save or schedule.is_due_within_epoch()) and context.can_save:
            finite = reached()
            if finite is not None:
                save(finite)

    stopped = False
    while not (stopped or _is_over(config, progress)):
        try:
            row, progress = run_epoch(config, films, context, replica, progress, save_within_epoch)
        except _NotFiniteError as error:
            raise RunError(
                f"{error}; {context.intact()}: lower train.learning_rate or set train.clip_norm, "
                "and start again"
            ) from None
        stopped = row is None
        if row is not None:
            context.report(row)
        if stopped or _is_over(config, progress) or schedule.is_due_after(progress.epoch):
            _on_all(replica, partial(save, progress))
    _on_all(replica, context.finish)
    if stopped:
        context.pause(progress)
    return progress


def _is_over(config: Config, progress: Progress) -> bool:
    """Return whether a run has all its epochs, or gets no better."""
    return progress.epoch >= config.train.epochs or is_stale(
        progress, config.train.early_stop_patience
    )


def _on_all(replica: Replica, action: Callable[[], None]) -> None:
    """Do something that may fail on one worker, and then ends all of them.

    Raises:
        RunError: it failed here or on another worker.
    """
    failure: RunError | None = None
    try:
        action()
    except RunError as error:
        failure = error
    if replica.sum_over_workers(tf.constant(float(failure is not None))).numpy():
        raise failure or RunError("another worker could not save the checkpoint")


def run_epoch(
    config: Config,
    films: Films,
    context: Member,
    replica: Replica,
    progress: Progress,
    between_steps: BetweenSteps = lambda reached: None,
) -> tuple[Row | None, Progress]:
    """Train and validate for one epoch, or for what is left of it.

    Args:
        config: of the run.
        films: of the run.
        context: who this worker is.
        replica: network and optimizer.
        progress: at the start of the epoch, or within it.
        between_steps: called after each step with a function that waits for the step's end and
            returns the progress within the epoch, or None if a loss is not finite.

    Returns:
        The epoch's row: losses, errors in millimetres, speed, and the score, less is better; none
        if the run was asked to stop. And the progress, after the epoch or within it.
    """
    started = time.perf_counter()
    step_sums, waited_s, stopped = _train_epoch(
        config, films.training, context, replica, progress, between_steps
    )
    train_s = time.perf_counter() - started
    if stopped:
        return None, progress.within_epoch(step_sums.tolist())
    sums = StepSums(*step_sums.T)
    row: Row = {
        "epoch": progress.epoch + 1,
        "loss": float(np.mean(sums.loss)),
        "detection_loss": float(np.mean(sums.detection_loss)),
        "refinement_loss": float(np.mean(sums.refinement_loss)),
        "train_coarse_mre_mm": float(sums.coarse_error_mm.sum() / sums.landmarks.sum()),
        "train_refined_mre_mm": float(sums.refined_error_mm.sum() / sums.landmarks.sum()),
        "learning_rate": replica.optimizer.last_learning_rate,
    }
    score = -float(progress.epoch + 1)
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
    exchange_s = float(sums.exchange_s[progress.step :].sum()) / context.world_size
    steps = len(step_sums) - progress.step
    row["films_per_s"] = steps / len(step_sums) * len(films.training) / train_s
    row["waiting_percent"] = float(waited_percent.mean())
    row["exchange_percent"] = 100 * exchange_s / train_s
    row["memory_gb"] = float(memory_bytes.max()) / 1e9
    row["seconds"] = time.perf_counter() - started
    row["score"] = score
    return row, progress.advance(row)


def _train_epoch(
    config: Config,
    table: FilmTable,
    context: Member,
    replica: Replica,
    progress: Progress,
    between_steps: BetweenSteps,
) -> tuple[NDArray[np.float32], float, bool]:
    """Take the steps of an epoch that are left.

    Returns:
        The `StepSums` of each step, summed over workers, [steps, 7]; the seconds that this worker
        waited for its films; and whether a worker was asked to stop, so that steps may be missing.
    """
    batches = training_batches(
        table,
        config.augment,
        config.train.global_batch_size,
        config.train.seed,
        progress.epoch + 1,
        context.rank,
        context.world_size,
        progress.step,
    )
    taken = [list(StepSums(*sums)) for sums in progress.step_sums]
    unread: deque[Any] = deque()

    def read_step() -> bool:
        *sums, stops = unread.popleft().numpy().tolist()
        taken.append(sums)
        _require_finite(StepSums(*sums).loss, len(taken), table, config, progress)
        return bool(stops)

    def reached() -> Progress | None:
        # The reports stay unread: what they say ends an epoch on all workers at the same step.
        steps = [*taken, *(report.numpy().tolist()[:-1] for report in unread)]
        return progress.within_epoch(steps) if np.isfinite(steps).all() else None

    stopped = False
    waiting = Waiting(work_ahead(map(_on_device, batches), context.threads))
    for batch in waiting:
        mine = replica.train_step(*batch)
        context.advance()
        stop = tf.constant([float(context.should_stop())])
        unread.append(replica.sum_over_workers(tf.concat([mine, stop], axis=0)))
        if len(unread) > _STEPS_BEHIND and (stopped := read_step()):
            break
        between_steps(reached)
    while unread:
        stopped |= read_step()
    return np.array(taken, np.float32), waiting.seconds, stopped


def _on_device(make: Callable[[], Batch]) -> Callable[[], tuple[Tensor, ...]]:
    """Return a function that makes a batch and moves it to the device that trains on it."""

    def move() -> tuple[Tensor, ...]:
        batch = make()
        others = (batch.truth, batch.first_points, batch.extent_mm, batch.counts)
        weight = tf.constant(batch.weight)
        return (to_input(batch.image), *map(tf.convert_to_tensor, others), weight)

    return move


def _over_workers(context: Member, replica: Replica, *values: float) -> NDArray[np.float32]:
    """Return each value of every worker: [values, workers]."""
    table = np.zeros((len(values), context.world_size), np.float32)
    table[:, context.rank] = values
    gathered: NDArray[np.float32] = replica.sum_over_workers(tf.constant(table)).numpy()
    return gathered


def _require_finite(
    loss: float,
    step: int,
    table: FilmTable,
    config: Config,
    progress: Progress,
) -> None:
    if np.isfinite(loss):
        return
    epoch = progress.epoch + 1
    batches = epoch_batches(len(table), config.train.global_batch_size, config.train.seed, epoch)
    names = [table.films[index] for index in batches[step - 1]]
    raise _NotFiniteError(
        f"the loss is {loss} at epoch {epoch}, step {step} (films {', '.join(names)})"
    )


def _validate(
    table: FilmTable, config: Config, context: Member, replica: Replica
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the radial errors of both stages, [N, K] each, on every worker."""
    num_films, num_landmarks, _ = table.landmarks_norm.shape
    errors_mm = np.zeros((2, num_films, num_landmarks), np.float32)
    share = max(1, config.train.global_batch_size // context.world_size)
    extent_mm = table.extent_mm
    batches = evaluation_batches(table, share, context.rank, context.world_size)
    for indices, films in work_ahead(batches, context.threads):
        prediction = replica.predict_step(to_input(films))
        context.advance()
        for stage, points in enumerate((prediction.coarse, prediction.refined)):
            errors_mm[stage, indices] = geometry.radial_errors_mm(
                points.numpy(), table.landmarks_norm[indices], extent_mm[indices]
            )
    # Each film's row is zero on all workers but one.
    coarse_mm, refined_mm = replica.sum_over_workers(tf.constant(errors_mm)).numpy()
    return coarse_mm, refined_mm


def is_stale(progress: Progress, patience: int | None) -> bool:
    """Return whether the last `patience` epochs brought no better score."""
    scores = [row["score"] for row in progress.history]
    if patience is None or len(scores) <= patience:
        return False
    return min(scores[-patience:]) >= min(scores[:-patience])
