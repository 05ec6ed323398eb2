"""Time of the gradient exchange, and memory of a worker.

It knows TensorFlow and this process, and nothing of films or epochs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import keras
import psutil
import tensorflow as tf

from cephray.training.exchange import sum_over_replicas

Tensor = Any


class ExchangeTimer:
    """Times the exchange of gradients apart from training, again and again.

    All workers build it, and call it, at the same points.

    Args:
        variables: what the gradients are of.
        dtype: type that they travel in.
        strategy: whose replicas take part; one alone has nothing to exchange.
    """

    def __init__(
        self, variables: Sequence[keras.Variable], dtype: str, strategy: tf.distribute.Strategy
    ) -> None:
        def exchange() -> Tensor:
            sums = sum_over_replicas([tf.zeros(v.shape) for v in variables], dtype)
            return tf.add_n([tf.reshape(total, (-1,))[0] for total in sums])

        self._run = tf.function(lambda: strategy.run(exchange))
        self._is_alone = strategy.num_replicas_in_sync == 1
        self._times_s: list[float] = []

    def seconds(self) -> float:
        """Time one more exchange; return the median of all so far."""
        if self._is_alone:
            return 0.0
        if not self._times_s:
            self._run().numpy()
        begin = time.perf_counter()
        self._run().numpy()
        self._times_s.append(time.perf_counter() - begin)
        return median(self._times_s)


def memory_bytes() -> int:
    """Return the memory that this process holds; on a GPU, the most it has held there."""
    if tf.config.list_physical_devices("GPU"):
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    return int(psutil.Process().memory_info().rss)
