"""The network's input from grey films, computed on the network's device.

A film travels there as one byte for each pixel, a twelfth of the network's input.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

Tensor = Any


def to_input(films: NDArray[Any]) -> Tensor:
    """Convert grey films to the network's input.

    Args:
        films: uint8 [b, H, W], 0 black to 255 white.

    Returns:
        float32 [b, H, W, 3], grey values in [0, 1], the same in all channels.
    """
    return _convert(films)


@tf.function(input_signature=[tf.TensorSpec((None, None, None), tf.uint8)])
def _convert(films: Tensor) -> Tensor:
    grey = tf.cast(films, tf.float32) * tf.constant(1 / 255, tf.float32)
    return tf.broadcast_to(grey[..., tf.newaxis], tf.concat([tf.shape(grey), [3]], 0))
