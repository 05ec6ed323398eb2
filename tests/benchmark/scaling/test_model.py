"""The model of a step on many workers: against a simulation in small turns, and counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cephray.benchmark.scaling.model import (
    GpuCluster,
    Link,
    Message,
    Ring,
    StepProfile,
    SumTime,
    fit_overlap,
    fit_ring,
    predict_step,
)

RING = Ring(start_s=2e-3, turn_s=1e-3, byte_s=2e-8)
PROFILE = StepProfile(
    forward_s=0.2,
    backward_s=0.5,
    statistics=(Message(0.1, 400), Message(0.5, 800), Message(0.9, 1600)),
    buckets=(Message(0.05, 4_000_000), Message(0.4, 4_000_000), Message(1.0, 500_000)),
)


def in_small_turns(profile: StepProfile, ring: Ring, workers: int) -> float:
    """Simulate a step, a tenth of a millisecond at a time."""
    turn_s = 1e-4
    now_s = 0.0

    def small(byte_count: int) -> float:
        turns = 2 * (workers - 1)
        return ring.start_s + turns * (ring.turn_s + byte_count / workers * ring.byte_s)

    for _, size in profile.statistics:
        now_s += small(size)
    now_s += profile.forward_s
    done = frozen_s = busy_s = 0.0
    queue: list[float] = []
    statistics = sorted((1 - position, size) for position, size in profile.statistics)
    buckets = list(profile.buckets)
    last_s = now_s
    while done < 1 or queue or buckets or frozen_s > 0:
        if frozen_s > 0:
            frozen_s -= turn_s
        elif done < 1:
            done += turn_s / profile.backward_s
        while statistics and frozen_s <= 0 and statistics[0][0] <= done + 1e-9:
            frozen_s += small(statistics.pop(0)[1])
        while buckets and buckets[0].position <= done + 1e-9:
            turns = 2 * (workers - 1)
            queue.append(turns * buckets.pop(0).byte_count / workers * ring.byte_s)
        now_s += turn_s
        if queue:
            busy_s += turn_s
            if busy_s >= queue[0]:
                busy_s -= queue.pop(0)
                last_s = now_s + ring.start_s + 2 * (workers - 1) * ring.turn_s
    return max(now_s, last_s)


@pytest.mark.parametrize("workers", [2, 3, 12])
@pytest.mark.parametrize("rate", [1.0, 0.1, 30.0])
def test_a_step_equals_its_simulation(workers: int, rate: float) -> None:
    ring = Ring(RING.start_s, RING.turn_s, RING.byte_s * rate)
    time = predict_step(PROFILE, lambda size: ring.time(size, workers))
    assert time.total_s == pytest.approx(in_small_turns(PROFILE, ring, workers), rel=0.01)


def test_one_worker_exchanges_nothing() -> None:
    time = predict_step(PROFILE, lambda size: RING.time(size, 1))
    assert time.total_s == PROFILE.computation_s == pytest.approx(0.7)


def test_without_overlap_all_bytes_travel_after_the_backward_pass() -> None:
    bare = StepProfile(PROFILE.forward_s, PROFILE.backward_s, (), PROFILE.buckets)
    time = predict_step(bare, lambda size: SumTime(0.0, size * 1e-8), overlap=0.0)
    assert time.gradients_s == pytest.approx(8_500_000 * 1e-8)
    assert predict_step(bare, lambda size: SumTime(0.0, size * 1e-8)).gradients_s < 0.01


@pytest.mark.parametrize("overlap", [0.0, 0.3, 1.0])
def test_overlap_is_found_again(overlap: float) -> None:
    cases = []
    for workers in (2, 4, 8):

        def time_of_sum(size: int, workers: int = workers) -> SumTime:
            return RING.time(size, workers)

        total_s = predict_step(PROFILE, time_of_sum, overlap).total_s
        cases.append((PROFILE, time_of_sum, total_s))
    assert fit_overlap(cases) == pytest.approx(overlap, abs=1e-9)


def test_a_ring_is_found_again() -> None:
    times = [
        (size, workers, RING.time(size, workers).total_s)
        for size in (1000, 100_000, 10_000_000)
        for workers in (2, 4, 8)
    ]
    assert vars(fit_ring(times)) == pytest.approx(vars(RING))
    noise = np.random.default_rng(0)
    noisy = [(size, n, seconds * noise.uniform(0.95, 1.05)) for size, n, seconds in times]
    found = fit_ring(noisy)
    assert found.turn_s == pytest.approx(RING.turn_s, rel=0.1)
    assert found.byte_s == pytest.approx(RING.byte_s, rel=0.1)


def test_no_time_of_a_ring_is_negative() -> None:
    """Messages that get faster with their number of bytes would need a negative time."""
    found = fit_ring([(1000, 2, 0.01), (100_000, 2, 0.005), (1000, 4, 0.03), (100_000, 4, 0.015)])
    assert min(found.start_s, found.turn_s, found.byte_s) >= 0


CLUSTER = GpuCluster(4, inside=Link(1e-6, 100e9), between=Link(10e-6, 10e9), start_s=5e-6)


@pytest.mark.parametrize(
    ("workers", "latency_s", "transfer_s"),
    [
        (1, 0.0, 0.0),
        (2, 5e-6 + 2e-6, 1e9 / 100e9),  # a ring of two hops, each passed by half of the bytes
        (4, 5e-6 + 6e-6, 1.5e9 / 100e9),
        # 8 hops, of which two go between nodes: 2 × 7 / 8 of (6 µs + 20 µs)
        (8, 5e-6 + 1.75 * 26e-6, 1.75e9 / 10e9),
    ],
)
def test_many_bytes_travel_in_a_ring(workers: int, latency_s: float, transfer_s: float) -> None:
    time = CLUSTER.time(1_000_000_000, workers)
    assert time == pytest.approx((latency_s, transfer_s))


def test_few_bytes_climb_a_tree() -> None:
    """Up and down: three GPUs of a node in a chain, and the height of 16 nodes."""
    time = CLUSTER.time(8, 64)
    assert time.latency_s == pytest.approx(5e-6 + 2 * (3e-6 + 4 * 10e-6))
    assert time.total_s < 2 * 63 / 64 * (48e-6 + 16 * 10e-6)
