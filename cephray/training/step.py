"""The training step: forward pass, loss, gradients and update, with sums for the report.

It knows TensorFlow's distribution strategies, and no Ray, no files and no order of films. Each
worker passes its own films; the gradients, and nothing else, travel between them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from cephray.config import LossConfig
from cephray.losses import two_stage_loss
from cephray.model import CompiledStep, Jit, image_shape, predict
from cephray.training.batch_norm import weigh_statistics
from cephray.training.exchange import timed_sums
from cephray.training.optimizer import DistributedAdam

Tensor = Any


class StepSums(NamedTuple):
    """One worker's part of a step's report. The sum over workers is that of the whole batch.

    The three losses are shares of the batch's means; the errors are sums over `landmarks`
    visible landmarks, millimetres. `exchange_s` is how long this worker waited for sums.
    """

    loss: Tensor
    detection_loss: Tensor
    refinement_loss: Tensor
    coarse_error_mm: Tensor
    refined_error_mm: Tensor
    landmarks: Tensor
    exchange_s: Tensor = 0.0  # runs that were begun by earlier versions lack it


TrainStep = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
# Takes a tensor of a batch, the number of a part and how many there are; returns the part.
PartOf = Callable[[Tensor, Tensor, int], Tensor]


def build_train_step(
    model: keras.Model,
    optimizer: DistributedAdam,
    loss: LossConfig,
    strategy: tf.distribute.Strategy,
    accumulation_steps: int = 1,
    jit: Jit | None = None,
) -> TrainStep:
    """Build the training step.

    XLA compiles forward and backward pass. The exchange between workers and the update are
    operations that it does not have.

    Args:
        model: built inside the strategy's scope.
        optimizer: built inside the strategy's scope, on the model's trainable variables.
        loss: the weights of the loss.
        strategy: whose replicas share the batch.
        accumulation_steps: parts, nearly equal, that a worker's films are computed in; each needs
            a film. Batch normalisation sees a part at a time.
        jit: the batch sizes that XLA compiles the step for, or None to do without XLA. Batches of
            these sizes are divided into equal parts.

    Returns:
        A function of image [b, H, W, 3], truth [b, K, 2], first_points [b, K, 2] (where the first
        windows stand; NaN: around the coarse estimate), extent_mm [b, 2] (width and height of the
        films), counts [K] (films of the whole batch that show each landmark) and weight (a scalar:
        1, or 0 if the film only stands in for none). It updates the model and returns the
        `StepSums` of this worker as a float32 vector. b must not be 0: convolutions of an empty
        batch have the wrong shape in TensorFlow 2.21.
    """

    dtype = model.output["coarse"].dtype

    def gradients_of(*batch: Tensor) -> tuple[list[Tensor], Tensor]:
        image, truth, first_points, extent_mm, counts, weight = batch
        truth, extent_mm, counts = (tf.cast(x, dtype) for x in (truth, extent_mm, counts))
        with timed_sums() as exchange_s:
            with tf.GradientTape() as tape, weigh_statistics(weight):
                prediction = predict(model, image, training=True, first_points=first_points)
                terms = two_stage_loss(
                    prediction.coarse,
                    prediction.passes,
                    truth,
                    loss,
                    counts,
                    extent_mm,
                    prediction.spread,
                    prediction.heatmap,
                    prediction.regressed,
                )
            gradients = tape.gradient(terms.total, model.trainable_variables)
        visible = tf.reduce_all(tf.math.is_finite(truth), axis=-1)  # [b, K]
        sums = StepSums(
            *terms,
            coarse_error_mm=_error_sum_mm(prediction.coarse, truth, extent_mm, visible),
            refined_error_mm=_error_sum_mm(prediction.refined, truth, extent_mm, visible),
            landmarks=tf.reduce_sum(tf.cast(visible, dtype)),
            exchange_s=tf.cast(exchange_s(), dtype),
        )
        return gradients, tf.cast(tf.stack(sums), tf.float32)

    def accumulate(part_of: PartOf, *batch: Tensor) -> tuple[list[Tensor], Tensor]:
        *of_films, counts, weight = batch

        def add(part: Tensor, gradients: list[Tensor], sums: Tensor) -> tuple[Any, ...]:
            some, terms = gradients_of(
                *(part_of(x, part, accumulation_steps) for x in of_films), counts, weight
            )
            added = [total + part for total, part in zip(gradients, some, strict=True)]
            return part + 1, added, sums + terms

        zeros = [tf.zeros(v.shape, v.dtype) for v in model.trainable_variables]
        if part_of is _part and strategy.num_replicas_in_sync > 1:
            # TensorFlow's loop cannot hold a sum over replicas, such as that of statistics. One
            # part after the other: more at a time would hold the memory of several.
            gradients, sums = zeros, tf.zeros(len(StepSums._fields))
            for part in range(accumulation_steps):
                with tf.control_dependencies([sums, *gradients]):
                    _, gradients, sums = add(tf.constant(part), gradients, sums)
            return gradients, sums
        _, gradients, sums = tf.while_loop(
            lambda part, *_: part < accumulation_steps,
            add,
            (tf.constant(0), zeros, tf.zeros(len(StepSums._fields))),
            parallel_iterations=1,  # more would hold the memory of several parts
        )
        return gradients, sums

    def compute(xla: bool, *batch: Tensor) -> tuple[list[Tensor], Tensor]:
        if accumulation_steps == 1:
            return gradients_of(*batch)
        return accumulate(_equal_part if xla else _part, *batch)

    num_landmarks = model.output["coarse"].shape[1]

    signature = [
        tf.TensorSpec((None, *image_shape(model)), tf.float32),
        tf.TensorSpec((None, num_landmarks, 2), tf.float32),
        tf.TensorSpec((None, num_landmarks, 2), tf.float32),
        tf.TensorSpec((None, 2), tf.float32),
        tf.TensorSpec((num_landmarks,), tf.float32),
        tf.TensorSpec((), tf.float32),
    ]

    def update_of_replica(gradients: list[Tensor], sums: Tensor) -> Tensor:
        with timed_sums() as exchange_s:
            optimizer.apply(gradients, model.trainable_variables)
        return tf.concat([sums[:-1], sums[-1:] + exchange_s()], axis=0)

    def on_replica(xla: bool, updates: bool) -> Callable[..., Any]:
        """Build a function of the replica's batch: the gradients, or the step with the update."""
        gradients_and_sums = partial(compute, xla)
        if xla:
            gradients_and_sums = tf.function(gradients_and_sums, jit_compile=True)

        def of_replica(*batch: Tensor) -> Any:
            gradients, sums = gradients_and_sums(*batch)
            return update_of_replica(gradients, sums) if updates else (gradients, sums)

        @tf.function(input_signature=signature)
        def run(*batch: Tensor) -> Any:
            return strategy.run(of_replica, args=batch)

        return run  # type: ignore[no-any-return]

    if jit is None:
        return on_replica(xla=False, updates=True)
    is_alone = strategy.num_replicas_in_sync == 1
    step = CompiledStep(
        "training step",
        on_replica(xla=True, updates=is_alone),
        on_replica(xla=False, updates=is_alone),
        jit.batch_sizes,
        jit,
    )
    if is_alone:
        return step

    @tf.function
    def update(gradients: list[Tensor], sums: Tensor) -> Tensor:
        return strategy.run(update_of_replica, (gradients, sums))

    def step_of_several(*batch: Tensor) -> Tensor:
        # Workers may hold batches of different sizes, and must exchange in one and the same graph.
        return update(*step(*batch))

    return step_of_several


def build_sum_over_workers(strategy: tf.distribute.Strategy) -> Callable[[Tensor], Tensor]:
    """Compile the sum of a float32 tensor over all replicas; every worker must call it."""

    def replica_sum(value: Tensor) -> Tensor:
        # The copy lies on the replica's device; an argument lies on none, which is refused.
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))

    @tf.function
    def total(value: Tensor) -> Tensor:
        return strategy.run(replica_sum, args=(value,))

    return total  # type: ignore[no-any-return]


def _part(films: Tensor, part: Tensor, parts: int) -> Tensor:
    """Return one of several nearly equal parts of a batch."""
    count = tf.shape(films)[0]
    return films[part * count // parts : (part + 1) * count // parts]


def _equal_part(films: Tensor, part: Tensor, parts: int) -> Tensor:
    """Return one of several equal parts; XLA must know its size."""
    return tf.reshape(films, (parts, -1, *films.shape[1:]))[part]


def _error_sum_mm(predicted: Tensor, truth: Tensor, extent_mm: Tensor, visible: Tensor) -> Tensor:
    difference_mm = (predicted - truth) * extent_mm[:, tf.newaxis]
    errors_mm = tf.norm(difference_mm, axis=-1)
    return tf.reduce_sum(tf.where(visible, errors_mm, 0.0))
