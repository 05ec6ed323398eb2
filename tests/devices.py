"""Where TensorFlow runs the operations of a test."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any


def on_cpu() -> AbstractContextManager[Any]:
    """Run on the CPU what a result is compared with; the result itself may come from a GPU.

    A GPU rounds and adds up in another order. Model, variables, first call and gradient must all
    stand inside: a variable stays where it was made, a `tf.function` where it was first called.
    """
    import tensorflow as tf

    return tf.device("/CPU:0")  # type: ignore[no-any-return]


def hide_gpus() -> None:
    """Leave this process the CPU alone; it must not have run an operation yet."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")


def device_of(crop: Any) -> AbstractContextManager[Any]:
    """Leave cephray's operation where TensorFlow puts it, and run any other crop on the CPU."""
    from cephray.ops import roi_crop

    return nullcontext() if crop is roi_crop else on_cpu()
