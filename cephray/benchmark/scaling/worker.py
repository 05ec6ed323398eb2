"""One worker of a group: it sleeps in place of computing, and exchanges in truth.

Buckets and statistics are summed as in training on CPUs, by the same functions.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cephray.benchmark.scaling.model import StepProfile
from cephray.errors import RunError

if TYPE_CHECKING:
    import tensorflow as tf

Tensor = Any

TURNS = 3
_LONG_BYTES = 1 << 18  # shorter messages are timed several in a row
_IN_A_ROW = 8
_LEAST_PAUSE_S = 0.005  # a shorter one is added to the next, since a sleep is not that exact


def measure(
    rank: int, addresses: list[str], sizes: Sequence[int], profiles: Sequence[StepProfile]
) -> tuple[list[list[float]], list[list[float]]]:
    """Join the group, check a sum, and time messages and steps.

    Args:
        rank: of this worker.
        addresses: of all workers; its own is where it listens.
        sizes: bytes of the messages to time.
        profiles: of the steps to time.

    Returns:
        Seconds of each turn, for each size and for each profile.

    Raises:
        RunError: a sum is wrong.
    """
    task = {"type": "worker", "index": rank}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
    import tensorflow as tf

    from cephray.training import communication_options

    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(8)  # one sleeps, others exchange
    strategy = tf.distribute.MultiWorkerMirroredStrategy(
        communication_options=communication_options("RING")
    )
    run = _on_replica(strategy)
    _check(run, rank, len(addresses))
    messages = [_time(run(_messages(size)), _in_a_row(size)) for size in sizes]
    return messages, [_time(run(_step(profile))) for profile in profiles]


def _on_replica(strategy: tf.distribute.Strategy) -> Callable[..., Callable[..., Tensor]]:
    import tensorflow as tf

    def compile_on_replica(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return tf.function(lambda *values: strategy.run(function, values))  # type: ignore[no-any-return]

    return compile_on_replica


def _check(run: Callable[..., Callable[..., Tensor]], rank: int, workers: int) -> None:
    import tensorflow as tf

    total = run(lambda value: _sum([value])[0])(tf.fill((3,), float(rank))).numpy()
    if (total != workers * (workers - 1) / 2).any():
        raise RunError(f"the sum of the ranks of {workers} workers came out as {total}")


def _sum(tensors: list[Tensor]) -> list[Tensor]:
    from cephray.training import sum_over_replicas

    return sum_over_replicas(tensors)


def _in_a_row(byte_count: int) -> int:
    return 1 if byte_count > _LONG_BYTES else _IN_A_ROW


def _messages(byte_count: int) -> Callable[[], Tensor]:
    import tensorflow as tf

    def exchange() -> Tensor:
        value = tf.zeros((max(1, byte_count // 4),))
        for _ in range(_in_a_row(byte_count)):
            value = _sum([value])[0]
        return value[0]

    return exchange


def _step(profile: StepProfile) -> Callable[[], Tensor]:
    """Return a step that sleeps between the events of a profile."""
    import tensorflow as tf

    def pause(token: Tensor, seconds: float) -> Tensor:
        def sleep(value: Any) -> Any:
            time.sleep(seconds)
            return value

        return tf.ensure_shape(tf.numpy_function(sleep, [token], tf.float32), ())

    def filled(token: Tensor, byte_count: int) -> Tensor:
        return tf.fill((max(1, byte_count // 4),), token)

    def step() -> Tensor:
        token = tf.zeros(())
        ready: list[Tensor] = []
        for seconds, events in (
            (profile.forward_s, [(*message, False) for message in profile.statistics]),
            (profile.backward_s, profile.backward_events()),
        ):
            due_s = 0.0  # to sleep before the next event
            done = 0.0
            for position, byte_count, is_bucket in [*events, (1.0, 0, None)]:
                due_s += (position - done) * seconds
                done = position
                if due_s >= _LEAST_PAUSE_S or is_bucket is None:
                    token, due_s = pause(token, due_s), 0.0
                if is_bucket:
                    ready.append(filled(token, byte_count))
                elif is_bucket is not None:
                    token = _sum([filled(token, byte_count)])[0][0]
        # A bucket of a tensor each.
        sums = [_sum([bucket])[0][0] for bucket in ready]
        return tf.add_n([token, *sums])

    return step


def _time(run: Callable[[], Tensor], count: int = 1) -> list[float]:
    run().numpy()
    times = []
    for _ in range(TURNS):
        begin = time.perf_counter()
        run().numpy()
        times.append((time.perf_counter() - begin) / count)
    return times
