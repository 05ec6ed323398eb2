"""Two hundred epochs in the memory of twenty: driver, workers, Ray's actors, object store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import ray
from ray._private.internal_api import get_memory_info_reply, get_state_from_address

from cephray.config import Config
from cephray.data import write_dataset
from tests.training.test_driver import launch

EPOCHS, SETTLED, GROWTH = 200, 20, 1.05
FILMS, HEIGHT, WIDTH = 8, 352, 320  # 110 KiB an image: a smaller one would bypass the object store
OBJECT_STORE = "object store"


def memory_in_use() -> dict[str, int]:
    """Return the bytes held by this process, by Ray's by their names, and in the store."""
    held: dict[str, int] = defaultdict(int)
    driver = psutil.Process()
    held["driver"] = driver.memory_info().rss
    for process in driver.children(recursive=True):
        try:
            name = process.cmdline()[0].split("(")[0]
            if name.startswith("ray::") and "IDLE" not in name:
                held[name] += process.memory_info().rss
        except (psutil.NoSuchProcess, IndexError):
            continue
    address = ray.get_runtime_context().gcs_address
    reply = get_memory_info_reply(get_state_from_address(address))  # type: ignore[no-untyped-call]
    held[OBJECT_STORE] = reply.store_stats.object_store_bytes_used
    return dict(held)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_memory_is_flat(
    cluster: None, tmp_path: Path, small_config: Callable[..., Config]
) -> None:
    write_dataset(tmp_path / "films", FILMS, size_px=(384, 480))
    config = small_config(
        f"train.epochs={EPOCHS}",
        "train.num_workers=2",
        f"data.image_height={HEIGHT}",
        f"data.image_width={WIDTH}",
        "data.validation=test1",
    )
    samples: list[dict[str, int]] = []

    def show(line: str) -> None:
        if line.startswith("epoch"):
            samples.append(memory_in_use())

    launch(tmp_path / "films", tmp_path / "run", config, show=show)
    assert len(samples) == EPOCHS
    settled = samples[SETTLED - 1]
    assert any("TrainWorker" in name for name in settled), settled.keys()
    assert settled[OBJECT_STORE] > FILMS * HEIGHT * WIDTH
    most = {name: max(sample.get(name, 0) for sample in samples[SETTLED:]) for name in settled}
    for name, before in settled.items():
        print(
            f"{name}: {before / 1e6:.1f} MB after {SETTLED} epochs, {most[name] / 1e6:.1f} later"
        )
    grown = {name for name, before in settled.items() if most[name] > GROWTH * before}
    assert not grown
