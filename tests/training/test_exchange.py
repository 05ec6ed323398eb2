"""Sums and statistics over two replicas against NumPy and one replica with the whole batch."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from cephray.config import load_config
from cephray.training.batch_norm import replica_batch_norm
from cephray.training.clone import replace_layers
from cephray.training.exchange import (
    BUCKET_BYTES,
    communication_options,
    fill_buckets,
    sum_at_once,
    sum_over_replicas,
    timed_sums,
)
from tests.devices import hide_gpus, on_cpu

Array = NDArray[Any]
SHAPES = ((3,), (), (2, BUCKET_BYTES // 4 // 2 + 5), (7, 1, 11))


Elsewhere = Callable[..., Any]


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    """Return a caller of functions in a process whose processor is two devices."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=split_processor) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def split_processor() -> None:
    """Make two devices of the processor, before TensorFlow uses it."""
    hide_gpus()
    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        processor, [tf.config.LogicalDeviceConfiguration()] * 2
    )


@cache
def two_replicas() -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def each(strategy: tf.distribute.Strategy, value: Any) -> list[Array]:
    return [one.numpy() for one in strategy.experimental_local_results(value)]


def share(strategy: tf.distribute.Strategy, values: list[Array]) -> Any:
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(values[context.replica_id_in_sync_group])
    )


def sums(dtype: str) -> list[list[Array]]:
    strategy = two_replicas()
    shares = [share(strategy, [values(0, shape), values(1, shape)]) for shape in SHAPES]

    @tf.function
    def exchange(*tensors: Any) -> Any:
        return strategy.run(lambda *mine: sum_over_replicas(mine, dtype), args=tensors)

    return [each(strategy, total) for total in exchange(*shares)]


def values(replica: int, shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(replica).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_sums_of_small_tensors_and_of_one_in_pieces(dtype: str, elsewhere: Elsewhere) -> None:
    for shape, results in zip(SHAPES, elsewhere(sums, dtype), strict=True):
        with on_cpu():
            travelled = [tf.cast(values(replica, shape), dtype) for replica in (0, 1)]
            expected = tf.cast(travelled[0] + travelled[1], "float32").numpy()
        assert len(results) == 2
        for result in results:
            np.testing.assert_array_equal(result, expected)


def test_buckets_are_full_and_hold_the_last_tensors_first() -> None:
    length = BUCKET_BYTES // 4
    sizes = [5, 2 * length + 3, 1, length]
    buckets = fill_buckets(sizes, item_bytes=4)
    filled = [sum(map(len, bucket)) for bucket in buckets]
    assert filled == [length] * 3 + [sum(sizes) - 3 * length]
    parts = [part for bucket in buckets for part in bucket]
    assert [part.tensor for part in parts] == [3, 2, 1, 1, 1, 0]
    for tensor, size in enumerate(sizes):
        mine = [part for part in parts if part.tensor == tensor]
        ends = [part.end for part in mine]
        assert [part.begin for part in mine] == [0, *ends[:-1]]
        assert ends[-1] == size == mine[0].size
    assert len(fill_buckets(sizes, item_bytes=2)) == 2


LATE_S = 0.4


def seconds_of_sums(small: bool) -> list[float]:
    """Return how long each of two replicas waits, of which the second one comes late."""
    strategy = two_replicas()

    def late(value: Any) -> Any:
        time.sleep(LATE_S)
        return value

    def replica(value: Any) -> Any:
        if tf.distribute.get_replica_context().replica_id_in_sync_group == 1:
            value = tf.ensure_shape(tf.numpy_function(late, [value], tf.float32), value.shape)
        with timed_sums() as seconds:
            total = sum_at_once(value) if small else sum_over_replicas([value])[0]
            return seconds(), total

    run = tf.function(lambda value: strategy.run(replica, args=(value,)))
    run(tf.ones(3))  # the first call traces
    waited, sums = run(tf.ones(3))
    assert all((total == 2).all() for total in each(strategy, sums))
    return [float(one) for one in each(strategy, waited)]


@pytest.mark.parametrize("small", [False, True])
def test_only_the_replica_that_waits_counts_seconds(small: bool, elsewhere: Elsewhere) -> None:
    waits, comes_late = elsewhere(seconds_of_sums, small)
    assert 0.9 * LATE_S < waits < 2 * LATE_S
    assert comes_late < 0.5 * LATE_S


def test_without_sums_there_are_no_seconds() -> None:
    with timed_sums() as seconds:
        assert float(seconds()) == 0


def hints_of_sums(workers: list[str], rank: int, library: Any) -> set[str]:
    """Return the libraries that a worker's traced sums name."""
    cluster = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}}
    os.environ["TF_CONFIG"] = json.dumps(cluster)
    options = communication_options(library)
    strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    trace = tf.function(lambda: strategy.run(lambda: sum_over_replicas([tf.ones(3)])))
    definition = trace.get_concrete_function().graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    return {
        node.attr["communication_hint"].s.decode()
        for node in nodes
        if node.op.startswith("CollectiveReduce")
    }


@pytest.mark.parametrize("library", ["NCCL", "RING"])
def test_sums_name_the_library(library: str) -> None:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    workers = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
    for listener in listeners:
        listener.close()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=hide_gpus) as pool:
        traced = [pool.submit(hints_of_sums, workers, rank, library) for rank in (0, 1)]
        assert [one.result(timeout=120) for one in traced] == [{library.lower()}] * 2


def test_gpus_of_their_own_sum_by_nccl() -> None:
    for options, library in {
        (): "RING",
        ("train.use_gpu=true",): "NCCL",
        ("train.use_gpu=true", "train.gpus_per_worker=0.5"): "RING",
        ("train.gpus_per_worker=1",): "RING",  # without use_gpu
    }.items():
        assert load_config(overrides=list(options)).train.collectives == library


def normalised(films: tuple[int, ...]) -> dict[str, Array]:
    """Forward and backward through one layer, the films shared out over the replicas."""
    strategy = two_replicas() if len(films) == 2 else tf.distribute.get_strategy()
    rng = np.random.default_rng(0)
    image, weight = rng.normal(3, 2, (2, sum(films), 5, 4, 6)).astype(np.float32)
    cuts = np.cumsum(films)[:-1]
    with strategy.scope():
        inputs = keras.Input((5, 4, 6))
        model = keras.Model(inputs, keras.layers.BatchNormalization(momentum=0.5)(inputs))
        if len(films) == 2:
            model = replace_layers(model, replica_batch_norm)

    def replica(image: Any, weight: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(image)
            output = model(image, training=True)
            loss = tf.reduce_sum(weight * output**2)
        return output, *tape.gradient(loss, [image, *model.trainable_variables])

    run = tf.function(lambda *shares: strategy.run(replica, args=shares))
    shares = [share(strategy, np.split(array, cuts)) for array in (image, weight)]
    output, slope, gamma, beta = (each(strategy, result) for result in run(*shares))
    moving = {v.name: v.numpy() for v in model.non_trainable_variables}
    joined = {"output": np.concatenate(output), "slope": np.concatenate(slope)}
    return {**joined, "gamma": np.sum(gamma, axis=0), "beta": np.sum(beta, axis=0), **moving}


def test_batch_norm_of_two_uneven_shares_is_that_of_the_whole(elsewhere: Elsewhere) -> None:
    whole = elsewhere(normalised, (5,))
    shared = elsewhere(normalised, (3, 2))
    assert set(shared) == set(whole) > {"moving_mean", "moving_variance"}
    for name, expected in whole.items():
        scale = np.abs(expected).max()
        np.testing.assert_allclose(shared[name], expected, rtol=0, atol=1e-5 * scale, err_msg=name)
