"""Adam whose gradients are summed over the workers in one exchange and clipped as a whole.

It knows the optimisation settings, and no model, loss or file.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from cephray.config import TrainConfig

Tensor = Any


@keras.saving.register_keras_serializable("cephray")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate: a linear rise, then constant or half a cosine down to zero.

    Args:
        peak: the highest learning rate.
        warmup_steps: length of the rise.
        cosine_steps: all steps of the run, the rise included; none: constant after the rise.
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
    sum comes first, and N workers clip as one would.

    Args:
        sum_clip_norm: largest global norm of the summed gradients; none: no clipping.
    """

    def __init__(self, *args: Any, sum_clip_norm: float | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sum_clip_norm = sum_clip_norm

    def _all_reduce_sum_gradients(
        self, grads_and_vars: list[tuple[Tensor, Tensor]]
    ) -> list[tuple[Tensor, Tensor]]:
        grads_and_vars = super()._all_reduce_sum_gradients(grads_and_vars)
        if self.sum_clip_norm is None:
            return grads_and_vars
        gradients, variables = zip(*grads_and_vars, strict=True)
        clipped, _ = tf.clip_by_global_norm(gradients, self.sum_clip_norm)
        return list(zip(clipped, variables, strict=True))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "sum_clip_norm": self.sum_clip_norm}


def build_optimizer(config: TrainConfig, steps_per_epoch: int) -> DistributedAdam:
    """Build the optimiser of a run; call it inside the strategy's scope.

    Args:
        config: learning rate, schedule and clipping.
        steps_per_epoch: to turn epochs into steps.
    """
    schedule = WarmUp(
        config.learning_rate,
        warmup_steps=round(config.warmup_epochs * steps_per_epoch),
        cosine_steps=config.epochs * steps_per_epoch if config.schedule == "cosine" else None,
    )
    # A fixed name: Keras numbers the others, and checkpoints hold the names of variables.
    return DistributedAdam(schedule, sum_clip_norm=config.clip_norm, name="adam")
