"""What a network's training step exchanges between workers, and when, read from its graph.

The share of a pass before a layer is counted in multiplications (train_step_bound.py). The
backward pass is taken to go through the layers in the opposite order, with the same shares.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cephray.benchmark.scaling.model import Message, StepProfile
from cephray.benchmark.train_step_bound import count_operations, count_products
from cephray.benchmark.train_step_subjects import build_trained
from cephray.config import Config
from cephray.training import fill_buckets

Tensor = Any


def profile_step(config: Config, step_s: float) -> StepProfile:
    """Profile a step.

    Args:
        config: of the network. `train.global_batch_size` is that of one worker,
            `model.sync_batch_norm` whether statistics are summed, and `train.exchange_dtype` the
            type that gradients travel in.
        step_s: seconds of a step of one worker.
    """
    model, _, _ = build_trained(config, show=lambda line: None)
    films = config.train.global_batch_size
    graph = _forward(model, films)
    products = np.array([count_products(one) for one in graph.get_operations()], np.float64)
    before = dict(
        zip(graph.get_operations(), (np.cumsum(products) - products) / products.sum(), strict=True)
    )
    share = 2 * products.sum() / count_operations(model, films)
    statistics = _statistics(before) if config.model.sync_batch_norm else ()
    return StepProfile(
        forward_s=step_s * share,
        backward_s=step_s * (1 - share),
        statistics=statistics,
        buckets=_buckets(model, graph, before, config.train.exchange_dtype),
    )


def _forward(model: keras.Model, films: int) -> tf.Graph:
    """Return the graph of the forward pass in training; its operations are in their order."""

    @tf.function
    def forward(*values: Tensor) -> list[Tensor]:
        inputs = keras.tree.pack_sequence_as(model.input, list(values))
        return keras.tree.flatten(model(inputs, training=True))  # type: ignore[no-any-return]

    specs = [tf.TensorSpec((films, *x.shape[1:]), x.dtype) for x in model.inputs]
    return forward.get_concrete_function(*specs).graph


def _statistics(before: dict[tf.Operation, float]) -> tuple[Message, ...]:
    """Return the messages of the batch normalisations that are trained.

    Sums, sums of squares and a count go forward, and two sums backward, in float32: the count is
    neglected.
    """
    return tuple(
        Message(share, 8 * int(operation.inputs[1].shape[0]))
        for operation, share in before.items()
        if operation.type == "FusedBatchNormV3" and operation.get_attr("is_training")
    )


def _buckets(
    model: keras.Model, graph: tf.Graph, before: dict[tf.Operation, float], dtype: str
) -> tuple[Message, ...]:
    """Return the messages of the gradients. A bucket waits for the last of its gradients."""
    inside = {id(outer): inner for outer, inner in graph.captures}
    ready = []
    for variable in model.trainable_variables:
        inner = inside.get(id(variable.value.handle))
        readers = [] if inner is None else [before[one] for one in inner.consumers()]
        ready.append(1 - min(readers, default=0.0))
    item_bytes = tf.as_dtype(dtype).size
    sizes = [int(np.prod(variable.shape)) for variable in model.trainable_variables]
    messages = [
        Message(max(ready[part.tensor] for part in bucket), item_bytes * sum(map(len, bucket)))
        for bucket in fill_buckets(sizes, item_bytes)
    ]
    return tuple(sorted(messages))
