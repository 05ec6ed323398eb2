"""Ray Tune as `tune` uses it: without its own signals and messages, in a thread beside ours.

It knows neither the study nor what a trial does.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cephray.cluster import BackgroundWork
from cephray.errors import RunError

if TYPE_CHECKING:
    import ray.tune

# Ray Tune keeps its own files there while it runs, in the folder of a search.
RAY = ".ray"
# What a trial's own process holds. The workers that it starts ask for CPUs and GPUs themselves.
RESOURCES: dict[str, float] = {"memory": 300 * 2**20}
_POLL_S = 0.2


@contextmanager
def environment() -> Iterator[None]:
    """Keep Ray Tune from handling signals, from asking for metrics in every report, from talk.

    Ray must not have been imported before.
    """
    ours = {
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
        # After a signal, the thread of the trials must not start another cluster.
        "RAY_ENABLE_AUTO_CONNECT": "0",
        # Each trial has half a dozen processes that mostly wait; Ray warns of so many by CPUs.
        "RAY_worker_maximum_startup_concurrency": "16",
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def fit(tuner: ray.tune.Tuner, verbose: bool) -> ray.tune.ResultGrid:
    """Run all trials of a tuner; signals interrupt it.

    Args:
        tuner: of Ray Tune.
        verbose: let Ray Tune's own logs through.

    Returns:
        The results of the trials.

    Raises:
        RunError: Ray Tune failed; says why in one line.
    """
    from ray.tune import TuneError

    if not verbose:  # a trial that is lost is said in our own words
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    results = []
    running = BackgroundWork(lambda: results.append(tuner.fit()), "cephray-tune")
    running.start()
    while running.is_alive():
        running.join(_POLL_S)
    try:
        running.raise_error()
    except TuneError as error:
        raise RunError(str(error).strip().splitlines()[-1]) from error
    return results[0]
