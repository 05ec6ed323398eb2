"""What `DistributedAdam` expects of Keras's private parts; a failure says what changed."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cephray.training.optimizer import DistributedAdam


def test_gradients_pass_through_one_method_before_the_update() -> None:
    """Keras's TensorFlow optimizer sums over replicas there, and cephray clips there."""
    base = next(c for c in keras.optimizers.Adam.__mro__ if "tensorflow" in c.__module__)
    assert "_all_reduce_sum_gradients" in vars(base), "Keras sums gradients elsewhere now"
    seen: list[int] = []

    class Watched(DistributedAdam):
        def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
            seen.append(1)
            return super()._all_reduce_sum_gradients(grads_and_vars)

    variable = keras.Variable(np.ones(3, np.float32))
    Watched(1e-3).apply([tf.ones(3)], [variable])
    assert seen == [1], "apply no longer calls _all_reduce_sum_gradients once"


def test_moments_lie_by_the_index_of_a_variable() -> None:
    variables = [keras.Variable(np.zeros(n, np.float32)) for n in (2, 3)]
    optimizer = DistributedAdam(1e-3)
    optimizer.build(variables)
    for variable in variables:
        index = optimizer._get_variable_index(variable)
        for moments in (optimizer._momentums, optimizer._velocities):
            assert moments[index].shape == variable.shape
    assert optimizer._trainable_variables == variables


def test_one_variable_is_updated_by_update_step() -> None:
    assert list(inspect.signature(keras.optimizers.Adam.update_step).parameters) == [
        "self", "gradient", "variable", "learning_rate",
    ]  # fmt: skip
