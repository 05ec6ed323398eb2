"""Sums over replicas: of gradients in buckets, and of other tensors; and the time they take.

It knows tensors, and neither optimiser nor network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import tensorflow as tf

from cephray.ops import load_operations

Tensor = Any

# Buckets travel side by side; a weight of half a gigabyte in one bucket waits for its own sums.
# Between two workers of one CPU, 0.9 GB takes 2.3 times as long so, and 1.4 times in 4 MiB.
BUCKET_BYTES = 16 * 2**20
_SUM = tf.distribute.ReduceOp.SUM
# The seconds of each sum that was traced in the block of `timed_sums`; None outside.
_SECONDS: ContextVar[list[Tensor] | None] = ContextVar("seconds", default=None)
_EACH_ALONE = tf.distribute.experimental.CommunicationOptions(bytes_per_pack=1)


def communication_options(
    library: Literal["NCCL", "RING"],
) -> tf.distribute.experimental.CommunicationOptions:
    """Return the options of a strategy whose workers sum by a library.

    Args:
        library: `NCCL` between GPUs, or `RING`, TensorFlow's own over the network.
    """
    implementations = tf.distribute.experimental.CommunicationImplementation
    return tf.distribute.experimental.CommunicationOptions(implementation=implementations[library])


def sum_over_replicas(tensors: Sequence[Tensor], dtype: str = "float32") -> list[Tensor]:
    """Sum each tensor over the replicas, in their own context.

    Tensors travel together in buckets, the last tensors first: they are the gradients of the last
    layers, which are ready first. The sum of a bucket begins when its tensors are there.

    Args:
        tensors: as many, and of the same static shapes, on every replica; none is empty.
        dtype: type that they travel in.

    Returns:
        The sums, in the type of the tensors.
    """
    flat = [tf.reshape(tf.cast(tensor, dtype), (-1,)) for tensor in tensors]
    buckets = fill_buckets([int(one.shape[0]) for one in flat], tf.as_dtype(dtype).size)
    sums = _sum([_join([_cut(flat[part.tensor], part) for part in bucket]) for bucket in buckets])
    pieces: list[list[Tensor]] = [[] for _ in tensors]
    for bucket, total in zip(buckets, sums, strict=True):
        for part, piece in zip(bucket, _split(total, [len(part) for part in bucket]), strict=True):
            pieces[part.tensor].append(piece)
    return [
        tf.cast(tf.reshape(_join(found), tensor.shape), tensor.dtype)
        for tensor, found in zip(tensors, pieces, strict=True)
    ]


def sum_at_once(tensor: Tensor) -> Tensor:
    """Sum a small tensor over the replicas, in their own context and in its own type.

    It is not timed where a GPU computes: to learn when it is there would cost as much as the sum.
    """
    if tf.config.list_logical_devices("GPU"):
        return tf.distribute.get_replica_context().all_reduce(_SUM, tensor)
    return _sum([tensor])[0]


@contextmanager
def timed_sums() -> Iterator[Callable[[], Tensor]]:
    """Time the sums that are traced in this block.

    The time of a sum begins when this replica has all that it adds, and ends when the sums are
    there: it waits for the other replicas, and for the bytes that still travel.

    Yields:
        A function that returns the seconds of the sums so far, a float32 scalar. Call it in the
        same graph.
    """
    seconds: list[Tensor] = []
    token = _SECONDS.set(seconds)
    try:
        yield lambda: tf.add_n([tf.zeros(()), *seconds])
    finally:
        _SECONDS.reset(token)


def _sum(tensors: list[Tensor]) -> list[Tensor]:
    seconds = _SECONDS.get()
    began_s = None if seconds is None else _time_of(tensors[-1:])  # they are there in their order
    sums: list[Tensor] = tf.distribute.get_replica_context().all_reduce(
        _SUM, tensors, options=_EACH_ALONE
    )
    if seconds is not None:
        last = sums[-1:] if tf.config.list_logical_devices("GPU") else sums  # NCCL's come in order
        seconds.append(tf.cast(_time_of(last) - began_s, tf.float32))
    return sums


def _time_of(tensors: list[Tensor]) -> Tensor:
    """Return the time at which tensors are there. An element of each goes to the processor."""
    elements = [tf.reshape(tensor, (-1,))[0] for tensor in tensors]
    with tf.device("CPU:0"):
        return load_operations().cephray_time_of(elements)


@dataclass(frozen=True)
class Part:
    """Elements `begin` to `end` of a flat tensor, given by its index."""

    tensor: int
    begin: int
    end: int
    size: int  # of the whole tensor

    def __len__(self) -> int:
        """Return the number of elements."""
        return self.end - self.begin


def fill_buckets(sizes: Sequence[int], item_bytes: int) -> list[list[Part]]:
    """Divide tensors into buckets of `BUCKET_BYTES`, but for the last bucket.

    Args:
        sizes: number of elements of each tensor, at least 1.
        item_bytes: bytes of an element.

    Returns:
        The parts in each bucket, from the last tensor to the first. A tensor may be in several
        buckets.
    """
    length = BUCKET_BYTES // item_bytes
    buckets: list[list[Part]] = [[]]
    free = length
    for index in reversed(range(len(sizes))):
        begin, size = 0, sizes[index]
        while begin < size:
            if not free:
                buckets.append([])
                free = length
            end = min(size, begin + free)
            buckets[-1].append(Part(index, begin, end, size))
            free -= end - begin
            begin = end
    return buckets


def _cut(flat: Tensor, part: Part) -> Tensor:
    return flat if len(part) == part.size else flat[part.begin : part.end]


def _join(pieces: list[Tensor]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else tf.concat(pieces, 0)


def _split(total: Tensor, sizes: list[int]) -> list[Tensor]:
    return [total] if len(sizes) == 1 else list(tf.split(total, sizes))
