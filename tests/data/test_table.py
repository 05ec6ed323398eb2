"""Tests decoded films that exceed the memory of Ray's object store."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import ray

from cephray.config import load_config
from cephray.data.dataset.records import read_dataset
from cephray.data.films import View, load_film
from cephray.data.synthetic.draw import write_dataset
from cephray.data.table import decode_on_cluster

STORE_BYTES = 80_000_000  # Ray requires at least 75 MiB


@pytest.mark.timeout(300)
def test_films_beyond_the_object_store_are_spilled_and_restored(tmp_path: Path) -> None:
    write_dataset(tmp_path / "films", 40, size_px=(192, 240))
    records = read_dataset(tmp_path / "films", "all", load_config().data)
    view = View(2000, 1600)
    assert len(records) * view.height * view.width > 1.5 * STORE_BYTES
    ray.init(
        "local",
        num_cpus=2,
        object_store_memory=STORE_BYTES,
        object_spilling_directory=str(tmp_path / "spilled"),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        table = decode_on_cluster(records, view)
        assert any(path.is_file() for path in (tmp_path / "spilled").rglob("*"))
        wanted = [load_film(record, view).image for record in records[::7]]
        for order in (range(len(records)), reversed(range(len(records)))):
            for index in order:
                (image,) = table.fetch([index])
                if index % 7 == 0:
                    np.testing.assert_array_equal(image, wanted[index // 7])
    finally:
        ray.shutdown()
