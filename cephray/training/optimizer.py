"""Adam over all workers, with one sum of gradients, global clipping and averaged weights.

It knows the optimisation settings, and no model, loss or file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from cephray.config import TrainConfig
from cephray.ops import load_operations
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
    sum comes first, and N workers clip as one would. The update is one operation for all
    variables (csrc/tensorflow/adam.cc): it reads and writes each value once, where Keras has an
    operation, and a pass over the memory, for each term of the formula and each variable. XLA has
    no such operation: `apply` must not be compiled by it.

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
    def last_learning_rate(self) -> float:
        """The learning rate of the last step; of the first, if none was taken."""
        rate = self._learning_rate
        if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            return float(rate)
        return float(rate(max(int(self.iterations.value.numpy()) - 1, 0)))

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

    def _backend_update_step(
        self,
        gradients: list[Tensor],
        variables: list[keras.Variable],
        learning_rate: Tensor,
    ) -> None:
        """Exchange the gradients and update all variables at once; Keras calls it in `apply`."""
        if _replicas() > 1:
            # The exchange cuts gradients into pieces, and TensorFlow may not know a gradient's
            # size while it traces the step. It is the size of its variable.
            shaped = [
                gradient
                if gradient.shape == variable.shape
                else tf.ensure_shape(gradient, variable.shape)
                for gradient, variable in zip(gradients, variables, strict=True)
            ]
            gradients = sum_over_replicas(shaped, self.exchange_dtype)
        settings = (
            self.beta_1,
            self.beta_2,
            self.epsilon,
            self.kernel_decay,
            math.inf if self.sum_clip_norm is None else self.sum_clip_norm,
            self.average_decay or 0,
        )
        dtype = variables[0].dtype
        indices = [self._get_variable_index(variable) for variable in variables]
        kept = [self._averages[index] for index in indices] if self._averages else []
        load_operations().cephray_adam_update(
            weights=_handles(variables),
            momentums=_handles(self._momentums[index] for index in indices),
            velocities=_handles(self._velocities[index] for index in indices),
            averages=_handles(kept),
            gradients=[tf.convert_to_tensor(gradient, dtype) for gradient in gradients],
            learning_rate=tf.cast(learning_rate, dtype),
            step=tf.cast(self.iterations + 1, dtype),
            settings=[repr(float(setting)) for setting in settings],
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            **super().get_config(),
            "sum_clip_norm": self.sum_clip_norm,
            "exchange_dtype": self.exchange_dtype,
            "kernel_decay": self.kernel_decay,
            "average_decay": self.average_decay,
        }


def _handles(variables: Iterable[keras.Variable]) -> list[Tensor]:
    """Return the handles of variables; those of this replica, where each has its own."""
    return [variable.value.handle for variable in variables]


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
        config.peak_learning_rate,
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
