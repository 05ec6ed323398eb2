"""Max pooling with a gradient that XLA can compile and that is the same in every run.

XLA refuses the gradient of TensorFlow's own max pooling where runs must be deterministic. Here
pooling and its gradient are composed of slices, which XLA fuses. This file knows layers, and no
network or optimizer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

Tensor = Any


@keras.saving.register_keras_serializable("cephray")
class ComposedMaxPooling2D(keras.layers.MaxPooling2D):
    """Max pooling by `max_pool`. Arguments are those of `keras.layers.MaxPooling2D`.

    Input shape:
        [b, H, W, C]; H and W must be known.
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Take the maximum of each window."""
        return max_pool(inputs, tuple(self.pool_size), tuple(self.strides), self.padding)


def composed_max_pool(layer: keras.layers.Layer) -> keras.layers.Layer | None:
    """Return a `ComposedMaxPooling2D` for a layer that it can replace, otherwise None."""
    if isinstance(layer, keras.layers.MaxPooling2D) and layer.data_format == "channels_last":
        return ComposedMaxPooling2D.from_config(layer.get_config())
    return None


def max_pool(
    inputs: Tensor, size: tuple[int, int], strides: tuple[int, int], padding: str
) -> Tensor:
    """Take the maximum of each window.

    Args:
        inputs: [b, H, W, C]; H and W must be known.
        size: height and width of the windows.
        strides: rows and columns between two windows.
        padding: "valid", or "same" to let windows reach beyond the border.

    Returns:
        [b, ceil(H / rows), ceil(W / columns), C] with "same" padding. The gradient goes to the
        first maximum of each window, as in TensorFlow's own pooling on the CPU.
    """
    extents = inputs.shape[1:3]
    if padding == "same":
        counts = [-(-extent // step) for extent, step in zip(extents, strides, strict=True)]
    else:
        counts = [
            (extent - length) // step + 1
            for extent, length, step in zip(extents, size, strides, strict=True)
        ]
    margins = []
    for extent, count, length, step in zip(extents, counts, size, strides, strict=True):
        missing = max((count - 1) * step + length - extent, 0)
        margins.append((missing // 2, missing - missing // 2))
    padded = tf.pad(inputs, [(0, 0), *margins, (0, 0)], constant_values=inputs.dtype.min)
    return _padded_max_pool(padded, size, strides, (counts[0], counts[1]))


def _padded_max_pool(
    padded: Tensor, size: tuple[int, int], strides: tuple[int, int], counts: tuple[int, int]
) -> Tensor:
    """Pool [b, H, W, C] whose windows all lie within; `counts` is the number of windows."""

    def corners() -> Iterator[tuple[list[int], list[int]]]:
        """Yield where the slice of each cell of a window begins and ends."""
        for row in range(size[0]):
            for column in range(size[1]):
                last = [(n - 1) * step for n, step in zip(counts, strides, strict=True)]
                yield [row, column], [row + last[0] + 1, column + last[1] + 1]

    def cut(x: Tensor, begin: list[int], end: list[int]) -> Tensor:
        return x[:, begin[0] : end[0] : strides[0], begin[1] : end[1] : strides[1]]

    @tf.custom_gradient
    def pool(x: Tensor) -> tuple[Tensor, Any]:
        largest = None
        for corner in corners():
            cell = cut(x, *corner)
            largest = cell if largest is None else tf.maximum(largest, cell)

        def gradient(of_largest: Tensor) -> Tensor:
            nothing = tf.zeros_like(of_largest)
            is_taken = tf.zeros_like(of_largest, tf.bool)
            parts = []
            for begin, end in corners():
                is_first = (cut(x, begin, end) == largest) & ~is_taken
                is_taken |= is_first
                parts.append(
                    tf.raw_ops.StridedSliceGrad(
                        shape=tf.shape(x),
                        begin=[0, *begin],
                        end=[0, *end],
                        strides=[1, *strides],
                        dy=tf.where(is_first, of_largest, nothing),
                        begin_mask=1,
                        end_mask=1,
                    )
                )
            return tf.add_n(parts)

        return largest, gradient

    return pool(padded)
