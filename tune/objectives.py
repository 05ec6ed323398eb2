"""The objectives of a search: the validation error and, as a second one, time or size.

It measures a finished trial's checkpoint, and knows nothing of searches.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import prod
from statistics import median
from typing import Literal

import numpy as np
from safetensors import safe_open

from cephray import geometry
from cephray.checkpoint import WEIGHTS_FILE, Checkpoint, open_checkpoint

Second = Literal["latency", "parameters"]

WARM_UP, REPEATS = 3, 21


@dataclass(frozen=True)
class Objective:
    """One figure that is made small.

    Args:
        key: in a trial's results.
        label: what it is, as reports write it.
        unit: may be none.
        decimals: that reports give.
    """

    key: str
    label: str
    unit: str
    decimals: int

    @property
    def title(self) -> str:
        """The label with its unit."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    def format(self, value: float) -> str:
        """Write a value as reports do."""
        return f"{value:.{self.decimals}f}"


MRE = Objective("mre_mm", "validation MRE", "mm", 3)
SECOND: dict[Second, Objective] = {
    "latency": Objective("latency_ms", "prediction of a film", "ms", 1),
    "parameters": Objective("parameters", "parameters", "", 0),
}


def objectives_of(second: Second | None) -> tuple[Objective, ...]:
    """List the objectives of a search, the validation error first."""
    return (MRE,) if second is None else (MRE, SECOND[second])


def count_parameters(checkpoint: Checkpoint) -> int:
    """Count the weights that a checkpoint's network learnt; running statistics are none."""
    with safe_open(checkpoint.file(WEIGHTS_FILE), framework="numpy") as arrays:
        return sum(
            prod(arrays.get_slice(name).get_shape())
            for name in arrays.keys()  # noqa: SIM118, no mapping
            if "/moving_" not in name
        )


def measure_latency(checkpoint: Checkpoint) -> float:
    """Time the prediction of one decoded film, in its own process and on its own resources.

    Args:
        checkpoint: on a path that all nodes share; its configuration says how many CPUs, and
            whether a GPU.

    Returns:
        Median time in milliseconds.
    """
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    from cephray.cluster import network_environment

    train = checkpoint.config.train
    threads = train.cpus_per_worker or 1
    task = ray.remote(
        num_cpus=threads,
        num_gpus=train.gpus,
        max_calls=1,  # TensorFlow's memory goes with its process
        runtime_env={"env_vars": network_environment(train.use_gpu)},
        # Not within what Ray Tune set aside for the trial's own process.
        scheduling_strategy=PlacementGroupSchedulingStrategy(placement_group=None),  # type: ignore[arg-type]
    )(_latency_ms)
    latency_ms: float = ray.get(task.remote(str(checkpoint.folder), threads))
    return latency_ms


def _latency_ms(folder: str, threads: int) -> float:
    import tensorflow as tf

    from cephray.data import Film
    from cephray.prediction import Detector
    from cephray.storage import place

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    detector = Detector(open_checkpoint(place(folder)))
    image, no_landmarks = np.zeros(detector.view.size, np.uint8), np.empty((0, 2), np.float32)
    size_px = (image.shape[1], image.shape[0])
    film = Film("blank", image, no_landmarks, size_px, 1.0, geometry.whole_film(size_px))
    times_s = []
    for _ in range(WARM_UP + REPEATS):
        begun = time.perf_counter()
        list(detector.detect([film]))
        times_s.append(time.perf_counter() - begun)
    return 1000 * median(times_s[WARM_UP:])
