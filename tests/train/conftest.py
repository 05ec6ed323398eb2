"""What the tests of training share: a cluster of two CPUs, and films on disk."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from cephray.data.synthetic import write_dataset


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(
        "local",  # beside any other cluster of this machine
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw 22 films: 11 to train on, 11 in Test1."""
    folder = tmp_path_factory.mktemp("data") / "films"
    write_dataset(folder, 22, size_px=(192, 240))
    return folder
