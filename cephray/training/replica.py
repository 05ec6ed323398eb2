"""One worker's network with its optimizer, steps and strategy.

It knows the configuration and the number of workers, and neither films nor epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from cephray.checkpoint import Checkpoint, Content, Progress, copy_arrays, transfer_weights
from cephray.config import Config
from cephray.data import FilmTable, steps_per_epoch
from cephray.landmarks import landmark_set
from cephray.model import Jit, PredictStep, build_network, build_predict_step
from cephray.plausibility import ShapeStatistics
from cephray.progress import Show
from cephray.training.batch_norm import fused_batch_norm, replica_batch_norm
from cephray.training.clone import replace_layers
from cephray.training.exchange import communication_options
from cephray.training.jit import choose_jit
from cephray.training.max_pool import composed_max_pool
from cephray.training.optimizer import DistributedAdam, build_optimizer
from cephray.training.step import TrainStep, build_sum_over_workers, build_train_step


@dataclass(frozen=True)
class Replica:
    """One worker's network with its optimizer, steps and strategy."""

    strategy: tf.distribute.Strategy
    model: keras.Model
    optimizer: DistributedAdam
    train_step: TrainStep
    predict_step: PredictStep
    sum_over_workers: Callable[[Any], Any]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Use the averages of the weights, if there are any, in place of the weights."""
        self.optimizer.swap_averages()
        try:
            yield
        finally:
            self.optimizer.swap_averages()

    def content(
        self, config: Config, progress: Progress, shapes: ShapeStatistics | None
    ) -> Content:
        """Copy what a checkpoint holds into memory.

        The averages of the weights, if there are any, take the place of the weights, and the
        weights that of the averages.

        Args:
            config: of the run.
            progress: of the run.
            shapes: statistics of the training films' landmarks.
        """
        weights = copy_arrays(self.model.variables)
        states = copy_arrays(self.optimizer.variables)
        for average, variable in self.optimizer.averages:
            weights[variable.path], states[average.path] = (
                states[average.path],
                weights[variable.path],
            )
        return Content(config, progress, weights, states, shapes)


def build_replica(
    config: Config,
    training: FilmTable,
    rank: int,
    world_size: int,
    show: Show,
    begins_with: Checkpoint | None = None,
) -> Replica:
    """Build the network and its optimiser for this worker, alike on all workers.

    Args:
        config: of the run.
        training: training films; they determine the length of an epoch and, if it is the prior,
            the mean shape.
        rank: number of this worker, from 0.
        world_size: more than one uses the multi-worker strategy of `TF_CONFIG`.
        show: takes lines about compilation, and about what was taken of a checkpoint.
        begins_with: checkpoint to take weights from, as far as they fit, or None.
    """
    keras.utils.set_random_seed(config.train.seed)
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = (
        tf.distribute.MultiWorkerMirroredStrategy(
            communication_options=communication_options(config.train.collectives)
        )
        if world_size > 1
        else tf.distribute.get_strategy()
    )
    steps = steps_per_epoch(len(training), config.train.global_batch_size)
    with strategy.scope():
        model, jit = prepare_network(
            partial(build_network, config), config, len(training), rank, world_size, show
        )
        if config.model.detection_prior == "mean_shape":
            model.get_layer("detection").prior.assign(training.mean_shape)
        if begins_with is not None:
            landmarks = landmark_set(config.data.landmarks)
            taken = transfer_weights(begins_with, model, landmarks)
            show(f"weights of {begins_with.folder}: {taken}")
        optimizer = build_optimizer(config.train, steps)
        optimizer.build(model.trainable_variables)
    return Replica(
        strategy,
        model,
        optimizer,
        build_train_step(
            model, optimizer, config.loss, strategy, config.train.accumulation_steps, jit
        ),
        build_predict_step(model, jit),
        build_sum_over_workers(strategy),
    )


def prepare_network(
    build: Callable[[], keras.Model],
    config: Config,
    films: int,
    rank: int,
    world_size: int,
    show: Show,
) -> tuple[keras.Model, Jit | None]:
    """Build a network as it is trained: in its precision, with the layers of training.

    Args:
        build: builds a functional model; it is called with the run's precision in force.
        config: of the run.
        films: number of training films.
        rank: number of this worker, from 0.
        world_size: number of workers.
        show: takes the line that says why nothing is compiled, and those about compilations.

    Returns:
        The network, and what XLA compiles in the run, or None to do without XLA.
    """
    with _precision(config.train.policy):
        network = build()
    jit = choose_jit(config, network, films, rank, world_size, show)
    over_replicas = world_size > 1 and config.model.sync_batch_norm
    rules = [replica_batch_norm if over_replicas else fused_batch_norm]
    if jit is not None and config.train.deterministic:
        rules.append(composed_max_pool)
    return replace_layers(network, *rules), jit


@contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Build layers of a Keras dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
