"""Memory of a worker.

It knows TensorFlow and this process, and nothing of films or epochs.
"""

from __future__ import annotations

import psutil
import tensorflow as tf


def memory_bytes() -> int:
    """Return the memory that this process holds; on a GPU, the most it has held there."""
    if tf.config.list_physical_devices("GPU"):
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    return int(psutil.Process().memory_info().rss)
