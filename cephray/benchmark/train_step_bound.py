"""The least time that a training step can take on a device, from its operations and bytes.

Counted are the operations that a device has its fastest units for, and the bytes that no
implementation can spare; rates are measured on the device itself. It knows graphs and variables,
and nothing of subjects or cases.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

Tensor = Any

MATRIX_SIDE = 8192
COPIED_BYTES = 1 << 30
_REPEATS = 20
_TURNS = 5


@dataclass(frozen=True)
class Bound:
    """What a step must do at least, and how fast the device does it.

    Args:
        operations: multiplications and additions of a step's convolutions and matrix products.
        byte_count: bytes of a step's update, see `update_bytes`.
        operations_per_s: rate of a large matrix product.
        bytes_per_s: rate of a large copy, bytes read and bytes written.
    """

    operations: int
    byte_count: int
    operations_per_s: float
    bytes_per_s: float

    @property
    def seconds(self) -> float:
        """The longer of the two times: a device may compute and copy at once."""
        return max(self.operations / self.operations_per_s, self.byte_count / self.bytes_per_s)


def measure_bound(model: keras.Model, optimizer: keras.Optimizer, films: int) -> Bound:
    """Count what a step of a network does, and measure the rates of the device in use.

    Args:
        model: a functional model, built with the dtype policy of its training.
        optimizer: built on its trainable variables.
        films: number of films of a step.
    """
    return Bound(
        count_operations(model, films),
        update_bytes(model.trainable_variables, optimizer),
        matmul_operations_per_s(model.compute_dtype),
        copy_bytes_per_s(),
    )


def count_operations(model: keras.Model, films: int) -> int:
    """Count multiplications and additions of forward and backward pass.

    Convolutions (depthwise ones too) and matrix products are counted, in the graph of the
    gradients of all outputs with regard to all trainable weights: about three times the forward
    pass, less what frozen layers and the first layer spare. Cells of a convolution's padding
    count as others do. Batch normalisation, activations, additions, the ROI crop, loss and update
    do not count.

    Args:
        model: a functional model.
        films: number of films, B.
    """

    @tf.function
    def gradients(*values: Tensor) -> list[Tensor]:
        with tf.GradientTape() as tape:
            outputs = keras.tree.flatten(
                model(keras.tree.pack_sequence_as(model.input, list(values)), training=True)
            )
            loss = tf.add_n([tf.reduce_sum(tf.cast(output, tf.float32)) for output in outputs])
        of_weights = tape.gradient(loss, model.trainable_variables)
        return [loss, *(gradient for gradient in of_weights if gradient is not None)]

    specs = [tf.TensorSpec((films, *x.shape[1:]), x.dtype) for x in model.inputs]
    needed = _needed_for(gradients.get_concrete_function(*specs).graph.outputs)
    return 2 * sum(map(count_products, needed))


def count_products(operation: tf.Operation) -> int:
    """Count the multiplications of an operation, as `count_operations` does.

    Raises:
        ValueError: the shape of its tensors is not known.
    """
    count = _PRODUCTS.get(operation.type)
    return 0 if count is None else count(operation)


def update_bytes(variables: Sequence[keras.Variable], optimizer: keras.Optimizer) -> int:
    """Count the bytes that a step moves between memory and processor at least.

    Weights, and the optimiser's moments and averages, are read and written once; gradients are
    written by the backward pass and read by the update. Films and feature maps do not count: how
    often they travel depends on what is fused.
    """
    trained = [*variables, *variables, *optimizer.variables]  # the second time for gradients
    sizes = (np.prod(v.shape) * tf.as_dtype(v.dtype).size for v in trained)
    return int(2 * sum(sizes))


def matmul_operations_per_s(dtype: str, side: int = MATRIX_SIDE) -> float:
    """Measure multiplications and additions a second of a product of two square matrices.

    Args:
        dtype: type of the matrices. In float32 a GPU may compute with TF32, as the network does.
        side: rows and columns.
    """
    left, right = (tf.cast(tf.random.normal((side, side)), dtype) for _ in range(2))
    return 2 * side**3 / _least_seconds(lambda: tf.matmul(left, right))


def copy_bytes_per_s(byte_count: int = COPIED_BYTES) -> float:
    """Measure bytes a second, read and written, of an operation that reads and writes each once.

    Args:
        byte_count: bytes read, and bytes written.
    """
    source = tf.ones((byte_count // 4,), tf.float32)
    # A copy itself may be left out, since tensors do not change.
    return 2 * byte_count / _least_seconds(lambda: tf.negative(source))


def _least_seconds(run: Callable[[], Tensor]) -> float:
    """Return the seconds of one call in the fastest of several turns, the results queued."""
    times = []
    for _ in range(_TURNS + 1):  # the first warms up
        begin = time.perf_counter()
        for _ in range(_REPEATS):
            result = run()
        result[(0,) * result.shape.rank].numpy()
        times.append((time.perf_counter() - begin) / _REPEATS)
    return min(times[1:])


def _needed_for(outputs: Sequence[Tensor]) -> set[tf.Operation]:
    """Return the operations that outputs of a graph depend on; TensorFlow runs no others."""
    needed: set[tf.Operation] = set()
    waiting = [output.op for output in outputs]
    while waiting:
        operation = waiting.pop()
        if operation not in needed:
            needed.add(operation)
            waiting += [value.op for value in operation.inputs]
    return needed


def _size(shape: tf.TensorShape) -> int:
    size = shape.num_elements()
    if size is None:
        raise ValueError(f"an operation has an unknown shape, {shape}: its work cannot be counted")
    return int(size)


def _convolution(operation: tf.Operation) -> int:
    """Return the products of a convolution [B, H, W, F] with a kernel [h, w, C, F]."""
    return _size(operation.outputs[0].shape) * _size(operation.inputs[1].shape[:-1])


def _convolution_of_input(operation: tf.Operation) -> int:
    return _size(operation.inputs[2].shape) * _size(operation.inputs[1].shape[:-1])


def _convolution_of_filter(operation: tf.Operation) -> int:
    return _size(operation.inputs[2].shape) * _size(operation.outputs[0].shape[:-1])


def _depthwise(operation: tf.Operation) -> int:
    """Return the products of a depthwise convolution with a kernel [h, w, C, M]."""
    return _size(operation.outputs[0].shape) * _size(operation.inputs[1].shape[:2])


def _depthwise_of_input(operation: tf.Operation) -> int:
    return _size(operation.inputs[2].shape) * _size(operation.inputs[1].shape[:2])


def _depthwise_of_filter(operation: tf.Operation) -> int:
    return _size(operation.inputs[2].shape) * _size(operation.outputs[0].shape[:2])


def _matrix_product(operation: tf.Operation) -> int:
    turned = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
    inner = operation.inputs[0].shape[-2 if turned else -1]
    return _size(operation.outputs[0].shape) * int(inner)


_PRODUCTS: dict[str, Callable[[tf.Operation], int]] = {
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _convolution_of_input,
    "Conv2DBackpropFilter": _convolution_of_filter,
    "DepthwiseConv2dNative": _depthwise,
    "DepthwiseConv2dNativeBackpropInput": _depthwise_of_input,
    "DepthwiseConv2dNativeBackpropFilter": _depthwise_of_filter,
    "MatMul": _matrix_product,
    "BatchMatMulV2": _matrix_product,
}
