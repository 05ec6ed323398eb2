"""The time of a training step on N workers, from a step of one worker and the links between them.

A message is a sum over all workers: of a bucket of gradients, or of the statistics of a batch
normalisation. The statistics of a layer are waited for, forward and backward. Buckets travel while
the backward pass goes on, and share the links. It is arithmetic, and knows no TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Message(NamedTuple):
    """Bytes that are summed over the workers.

    `position` is the share of the forward pass before a layer's statistics, or the share of the
    backward pass after which a bucket's gradients are there.
    """

    position: float
    byte_count: int


class SumTime(NamedTuple):
    """Seconds of a sum: of its turns without any bytes, and of its bytes on the links.

    The links serve other messages meanwhile, but for `transfer_s`.
    """

    latency_s: float
    transfer_s: float

    @property
    def total_s(self) -> float:
        """Seconds of a sum that has the links to itself."""
        return self.latency_s + self.transfer_s


# Returns the time of a sum of so many bytes.
TimeOfSum = Callable[[int], SumTime]


@dataclass(frozen=True)
class StepProfile:
    """A step of one worker, and what it would exchange with others.

    Args:
        forward_s: seconds of the forward pass.
        backward_s: seconds of the rest: loss, backward pass and update.
        statistics: of each batch normalisation, in the order of the forward pass. The backward
            pass meets them in the opposite order.
        buckets: of the gradients, in the order in which they are there.
    """

    forward_s: float
    backward_s: float
    statistics: tuple[Message, ...]
    buckets: tuple[Message, ...]

    @property
    def computation_s(self) -> float:
        """Seconds of a step without any exchange."""
        return self.forward_s + self.backward_s

    def backward_events(self) -> list[tuple[float, int, bool]]:
        """Return what happens in the backward pass, in order: position, bytes, is it a bucket."""
        return sorted(
            [
                *((1 - position, size, False) for position, size in self.statistics),
                *((position, size, True) for position, size in self.buckets),
            ]
        )


@dataclass(frozen=True)
class StepTime:
    """Parts of a step's time, seconds.

    Args:
        computation_s: of the worker itself.
        statistics_s: waiting for statistics.
        gradients_s: waiting for gradients after the backward pass.
    """

    computation_s: float
    statistics_s: float
    gradients_s: float

    @property
    def total_s(self) -> float:
        """Seconds of the step."""
        return self.computation_s + self.statistics_s + self.gradients_s


def predict_step(profile: StepProfile, time_of_sum: TimeOfSum, overlap: float = 1.0) -> StepTime:
    """Predict the time of a step.

    Args:
        profile: of a step.
        time_of_sum: of a message, between the workers of the step.
        overlap: share of what could travel during the backward pass that does so, 0 to 1.
    """
    statistics_s = sum(time_of_sum(size).total_s for _, size in profile.statistics)
    waited_s = links_free_s = last_s = transfer_s = 0.0  # from the start of the backward pass
    for position, size, is_bucket in profile.backward_events():
        now_s = position * profile.backward_s + waited_s
        message = time_of_sum(size)
        if is_bucket:
            links_free_s = max(links_free_s, now_s) + message.transfer_s
            last_s = links_free_s + message.latency_s
            transfer_s += message.transfer_s
        else:
            waited_s += message.total_s
    end_s = profile.backward_s + waited_s
    at_best_s = max(0.0, last_s - end_s)
    at_worst_s = max(transfer_s, at_best_s)
    return StepTime(
        profile.computation_s,
        statistics_s + waited_s,
        overlap * at_best_s + (1 - overlap) * at_worst_s,
    )


def fit_overlap(cases: Sequence[tuple[StepProfile, TimeOfSum, float]]) -> float:
    """Fit `overlap` to measured steps, by least squares of the relative error.

    Args:
        cases: profile, time of a message, and the seconds measured, of each.
    """
    above = below = 0.0
    for profile, time_of_sum, measured_s in cases:
        least, most = (predict_step(profile, time_of_sum, x).total_s for x in (1.0, 0.0))
        slope = (most - least) / measured_s
        above += slope * (most - measured_s) / measured_s
        below += slope**2
    return min(max(above / below, 0.0), 1.0) if below else 1.0


@dataclass(frozen=True)
class Ring:
    """A sum in a ring of workers whose links are alike.

    In 2 (N - 1) turns each worker passes on one N-th of the bytes (Patarasuk & Yuan 2009).

    Args:
        start_s: seconds of a message whatever the number of workers.
        turn_s: seconds of a turn without any bytes.
        byte_s: seconds of a byte on a link.
    """

    start_s: float
    turn_s: float
    byte_s: float

    def time(self, byte_count: int, workers: int) -> SumTime:
        """Return the time of a message between so many workers."""
        if workers == 1:
            return SumTime(0.0, 0.0)
        turns = 2 * (workers - 1)
        return SumTime(
            self.start_s + turns * self.turn_s, turns * byte_count / workers * self.byte_s
        )


def fit_ring(times: Sequence[tuple[int, int, float]]) -> Ring:
    """Fit a ring to measured messages, by least squares of the relative error.

    Args:
        times: bytes, workers and seconds of each message, of at least two sizes and numbers of
            workers.
    """
    rows = []
    for byte_count, workers, seconds in times:
        turns = 2 * (workers - 1)
        rows.append(np.array([1.0, turns, turns * byte_count / workers]) / seconds)
    table = np.array(rows)
    values = np.zeros(3)
    used = [0, 1, 2]
    while used:
        found, *_ = np.linalg.lstsq(table[:, used], np.ones(len(table)), rcond=None)
        if (found >= 0).all():
            values[used] = found
            break
        used.pop(int(np.argmin(found * table[:, used].mean(axis=0))))  # no time is negative
    return Ring(*(float(value) for value in values))


@dataclass(frozen=True)
class Link:
    """A link as one worker or one node sees it.

    Args:
        latency_s: seconds until the first byte arrives.
        bytes_per_s: bytes a second in each direction.
    """

    latency_s: float
    bytes_per_s: float


@dataclass(frozen=True)
class GpuCluster:
    """Nodes with several GPUs each.

    Args:
        gpus_per_node: on each node.
        inside: the link of a GPU to the others of its node.
        between: the links of a node to other nodes, all together.
        start_s: seconds to start a message.
    """

    gpus_per_node: int
    inside: Link
    between: Link
    start_s: float

    def time(self, byte_count: int, workers: int) -> SumTime:
        """Return the time of a message between so many GPUs, on as few nodes as hold them.

        A ring moves the fewest bytes, and a tree takes the fewest turns; the faster is taken, as
        NCCL does. The tree is a chain within each node and binary between nodes; two of them
        together use all links in both directions (Sanders, Speck & Träff 2009).
        """
        if workers == 1:
            return SumTime(0.0, 0.0)
        nodes = math.ceil(workers / self.gpus_per_node)
        inside, between = self.inside, self.between
        rate = inside.bytes_per_s if nodes == 1 else min(inside.bytes_per_s, between.bytes_per_s)
        hops_between = nodes if nodes > 1 else 0
        hops_s = (workers - hops_between) * inside.latency_s + hops_between * between.latency_s
        share = 2 * (workers - 1) / workers
        climb_s = (min(workers, self.gpus_per_node) - 1) * inside.latency_s
        climb_s += math.ceil(math.log2(nodes)) * between.latency_s
        ring = SumTime(self.start_s + share * hops_s, share * byte_count / rate)
        tree = SumTime(self.start_s + 2 * climb_s, 2 * byte_count / rate)
        return min(ring, tree, key=lambda one: one.total_s)
