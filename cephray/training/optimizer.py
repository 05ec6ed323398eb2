"""Adam over all workers, with one sum of gradients, global clipping and averaged weights.

It knows the optimisation settings, and no model, loss or file.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from cephray.config import TrainConfig
from cephray.training.exchange import sum_over_replicas

Tensor = Any


@keras.saving.register_keras_serializable("cephray")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate with a linear warm-up, then constant or half a cosine down to zero.

    Args:
        peak: highest learning rate.
        warmup_steps: number of steps of the warm-up.
        cosine_steps: number of steps in the run, including the warm-up. If None, the rate stays
            constant after the warm-up.
    """

    def __init__(self, peak: float, warmup_steps: int, cosine_steps: int | None) -> None:
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.cosine_steps = cosine_steps

    def __call__(self, step: Tensor) -> Tensor:
        """Return the learning rate of a step, counted from 0."""
        step = ops.cast(step, "float32")
        factor = ops.minimum(1.0, (step + 1.0) / max(self.warmup_steps, 1))
        if self.cosine_steps is not None:
            falling = max(self.cosine_steps - self.warmup_steps, 1)
            done = ops.clip((step - self.warmup_steps) / falling, 0.0, 1.0)
            factor = factor * 0.5 * (1.0 + ops.cos(math.pi * done))
        return self.peak * factor

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "cosine_steps": self.cosine_steps,
        }


@keras.saving.register_keras_serializable("cephray")
class DistributedAdam(keras.optimizers.Adam):
    """Adam on the sum of all replicas' gradients.

    Keras clips before it sums, so that its norm depends on how a batch is shared out. Here the
    sum comes first, and N workers clip as one would. Each update is one pass over the memory of
    a variable and its moments, where Keras takes a pass for each operation of the formula.

    Args:
        sum_clip_norm: maximum global norm of the summed gradients, or None to disable clipping.
        exchange_dtype: type that gradients travel in.
        kernel_decay: fraction of the learning rate by which kernels shrink at each step (AdamW,
            Loshchilov & Hutter 2019); biases and normalisation do not.
        average_decay: decay of the exponential moving average of the weights, or None to keep no
            average. The first steps decay faster, by (1 + step) / (10 + step), to forget the
            initial weights.
    """

    def __init__(
        self,
        *args: Any,
        sum_clip_norm: float | None = None,
        exchange_dtype: str = "float32",
        kernel_decay: float = 0.0,
        average_decay: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.sum_clip_norm = sum_clip_norm
        self.exchange_dtype = exchange_dtype
        self.kernel_decay = kernel_decay
        self.average_decay = average_decay
        self._averages: list[keras.Variable] = []
        self._is_exchanged = False

    def build(self, var_list: list[keras.Variable]) -> None:
        """Create the moments and, with `average_decay`, the averages, equal to the weights."""
        if self.built:
            return
        super().build(var_list)
        if self.average_decay is not None:
            self._averages = self.add_optimizer_variables(var_list, "average")
            for average, variable in zip(self._averages, var_list, strict=True):
                average.assign(variable)

    @property
    def averages(self) -> list[tuple[keras.Variable, keras.Variable]]:
        """Each average with the weights that it is of; empty without `average_decay`."""
        return list(zip(self._averages, self._trainable_variables, strict=False))

    def swap_averages(self) -> None:
        """Exchange the weights with their averages, if there are any, on their device.

        Validation sees the averages in the weights' place. A second call undoes it.
        """
        for average, variable in self.averages:
            weights = tf.identity(variable.value)
            variable.assign(average)
            average.assign(weights)

    def exchange(self, gradients: list[Tensor]) -> list[Tensor]:
        """Sum gradients over the replicas. Call it in the context of a replica."""
        if _replicas() == 1:
            return gradients
        return sum_over_replicas(gradients, self.exchange_dtype)

    def apply_exchanged(self, gradients: list[Tensor], variables: list[keras.Variable]) -> None:
        """Update as `apply` does, with gradients that `exchange` has summed already."""
        self._is_exchanged = True
        try:
            self.apply(gradients, variables)
        finally:
            self._is_exchanged = False

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
        """Update one variable with its whole gradient."""
        index = self._get_variable_index(variable)
        learning_rate = tf.cast(learning_rate, variable.dtype)
        step = tf.cast(self.iterations + 1, variable.dtype)
        beta_1, beta_2 = (tf.constant(beta, variable.dtype) for beta in (self.beta_1, self.beta_2))
        if self.kernel_decay and len(variable.shape) > 1:
            self.assign_sub(variable, variable * (learning_rate * self.kernel_decay))
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=beta_1**step,
            beta2_power=beta_2**step,
            lr=learning_rate,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.constant(self.epsilon, variable.dtype),
            grad=gradient,
        )
        if self._averages:
            most = tf.constant(self.average_decay, variable.dtype)
            decay = tf.minimum(most, step / (step + 9.0))
            average = self._averages[index]
            self.assign_sub(average, (average - variable) * (1.0 - decay))

    def _all_reduce_sum_gradients(
        self, grads_and_vars: list[tuple[Tensor, Tensor]]
    ) -> list[tuple[Tensor, Tensor]]:
        gradients = [gradient for gradient, _ in grads_and_vars]
        if _replicas() > 1 and not self._is_exchanged:
            # The exchange cuts gradients into pieces, and TensorFlow may not know a gradient's
            # size while it traces the step. It is the size of its variable.
            gradients = [tf.ensure_shape(gradient, v.shape) for gradient, v in grads_and_vars]
            gradients = self.exchange(gradients)
        if self.sum_clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self.sum_clip_norm)
        # An update while the backward pass still reads the weights would first copy them.
        with tf.control_dependencies([tf.group(*gradients)]):
            return [
                (tf.identity(tf.convert_to_tensor(gradient, variable.dtype)), variable)
                for gradient, (_, variable) in zip(gradients, grads_and_vars, strict=True)
            ]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            **super().get_config(),
            "sum_clip_norm": self.sum_clip_norm,
            "exchange_dtype": self.exchange_dtype,
            "kernel_decay": self.kernel_decay,
            "average_decay": self.average_decay,
        }


def _replicas() -> int:
    """Return how many replicas share the step that is being traced."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else int(context.num_replicas_in_sync)


def build_optimizer(config: TrainConfig, steps_per_epoch: int) -> DistributedAdam:
    """Build the optimiser of a run; call it inside the strategy's scope.

    Args:
        config: learning rate, schedule, clipping, exchange and average.
        steps_per_epoch: to turn epochs into steps.
    """
    schedule = WarmUp(
        config.learning_rate,
        warmup_steps=round(config.warmup_epochs * steps_per_epoch),
        cosine_steps=config.epochs * steps_per_epoch if config.schedule == "cosine" else None,
    )
    return DistributedAdam(
        schedule,
        sum_clip_norm=config.clip_norm,
        exchange_dtype=config.exchange_dtype,
        kernel_decay=config.weight_decay,
        average_decay=config.average_decay,
        name="adam",  # fixed: Keras numbers the others, and checkpoints hold variables' names
    )
