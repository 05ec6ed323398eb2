"""What `DistributedAdam` expects of Keras's private parts; a failure says what changed."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cephray.training.optimizer import DistributedAdam


def test_all_variables_are_updated_by_one_method() -> None:
    """Keras's TensorFlow optimizer sums over replicas and updates there, and so does cephray's."""
    base = next(c for c in keras.optimizers.Adam.__mro__ if "tensorflow" in c.__module__)
    assert list(inspect.signature(base._backend_update_step).parameters) == [
        "self", "grads", "trainable_variables", "learning_rate",
    ]  # fmt: skip
    seen: list[int] = []

    class Watched(DistributedAdam):
        def _backend_update_step(self, gradients: Any, variables: Any, learning_rate: Any) -> None:
            seen.append(len(variables))
            super()._backend_update_step(gradients, variables, learning_rate)

    variables = [keras.Variable(np.ones(3, np.float32)) for _ in range(2)]
    Watched(1e-3).apply([tf.ones(3)] * 2, variables)
    assert seen == [2], "apply no longer calls _backend_update_step once"


def test_moments_lie_by_the_index_of_a_variable() -> None:
    variables = [keras.Variable(np.zeros(n, np.float32)) for n in (2, 3)]
    optimizer = DistributedAdam(1e-3)
    optimizer.build(variables)
    for variable in variables:
        index = optimizer._get_variable_index(variable)
        for moments in (optimizer._momentums, optimizer._velocities):
            assert moments[index].shape == variable.shape
    assert optimizer._trainable_variables == variables
