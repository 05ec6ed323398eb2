"""What training costs beside its computation: the exchange of gradients, and memory.

It knows TensorFlow and this process, and nothing of films or epochs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import keras
import psutil
import tensorflow as tf

from cephray.train.optimizer import sum_over_replicas

Tensor = Any


def time_exchange(
    variables: Sequence[keras.Variable], dtype: str, strategy: tf.distribute.Strategy
) -> float:
    """Time one exchange of gradients over the workers, seconds; all of them must call it.

    Args:
        variables: what the gradients are of.
        dtype: type that they travel in.
        strategy: whose replicas take part; one alone has nothing to exchange.
    """
    if strategy.num_replicas_in_sync == 1:
        return 0.0

    def exchange() -> Tensor:
        sums = sum_over_replicas([tf.zeros(v.shape) for v in variables], dtype)
        return tf.add_n([tf.reshape(total, (-1,))[0] for total in sums])

    run = tf.function(lambda: strategy.run(exchange))
    run().numpy()
    begin = time.perf_counter()
    run().numpy()
    return time.perf_counter() - begin


def memory_bytes() -> int:
    """Return the memory that this process holds; on a GPU, the most it has held there."""
    if tf.config.list_physical_devices("GPU"):
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    return int(psutil.Process().memory_info().rss)
