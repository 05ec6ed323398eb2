"""`cephray benchmark input`: films prepared per second, and how long an epoch waits for them.

Ours decodes each film once, at the network's size, and augments it from memory on every epoch;
the other decodes and augments the film at its full size each time. Both do every augmentation.
Then a network trains for an epoch, and says which share of it was spent waiting.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cephray import geometry
from cephray.benchmark.timing import (
    OURS,
    Row,
    cpu_count,
    format_rows,
    machine_facts,
    measure,
    write_json,
)
from cephray.config import AugmentConfig, Config, load_config
from cephray.data import (
    Batch,
    Films,
    FilmTable,
    Record,
    View,
    augment,
    decode_on_cluster,
    read_dataset,
    read_pixels,
    training_batches,
    work_ahead,
    write_dataset,
)
from cephray.errors import RunError

PACKAGES = ("cephray", "opencv-python", "numpy", "ray", "tensorflow")
FULL_SIZE = "full size each epoch"
DRAWN_FILMS = 12
SECONDS = 30.0
BATCH_SIZE = 4


@dataclass
class Worker:
    """The only worker of a run."""

    threads: int
    rank: int = 0
    world_size: int = 1

    def advance(self) -> None:
        """Nobody watches this worker."""

    def should_stop(self) -> bool:
        """Never ask to stop."""
        return False


def run(
    data: Path | None = None, json_path: Path | None = None, show: Callable[[str], None] = print
) -> list[Row]:
    """Check, time, show a table; write the JSON file where it is asked for.

    Args:
        data: folder of a data set, whose Training films are used. If None, films are drawn.
        json_path: file to write, or None.
        show: takes the table a block at a time.

    Raises:
        InputError: the data set cannot be read.
        RunError: two threads do not make the batches of one.
    """
    machine = machine_facts(PACKAGES)
    config = load_config(
        overrides=[
            "model.backbone=resnet18",
            f"train.global_batch_size={BATCH_SIZE}",
            *(f"augment.{name}.enabled=true" for name in AugmentConfig.model_fields),
        ]
    )
    with tempfile.TemporaryDirectory(prefix="cephray-") as folder:
        if data is None:
            show(f"drawing {2 * DRAWN_FILMS} films")
            write_dataset(Path(folder) / "films", 2 * DRAWN_FILMS)
        records = read_dataset(data or Path(folder) / "films", "train", config.data)
        rows = _measure(records, config, show)
    show(format_rows(rows))
    if json_path is not None:
        write_json(json_path, machine, rows)
        show(f"rows in {json_path}")
    waits = rows[-1].case["waiting_percent"]
    show(f"an epoch of {config.model.backbone} waits {waits:.2f} % of its time for films")
    return rows


def _measure(
    records: Sequence[Record],
    config: Config,
    show: Callable[[str], None],
    seconds: float = SECONDS,
) -> list[Row]:
    from cephray.cluster import connected

    view = View.of(config.data)
    case = {
        "films": len(records),
        "height": view.height,
        "width": view.width,
        "threads": cpu_count(),
    }
    with connected(False, show, dashboard=False):
        table = decode_on_cluster(records, view)
        _check(table, config)
        rows = measure(
            case,
            "film",
            {
                OURS: lambda: _time(_batches(table, config, cpu_count()), len(table)),
                FULL_SIZE: lambda: _time(_full_size(records, config), len(records)),
            },
            seconds,
        )
        return [*rows, _train(table, config, case, rows[0].median_s)]


def _check(table: FilmTable, config: Config) -> None:
    """Compare the batches of two threads with those of one."""
    for one, two in zip(_batches(table, config, 1), _batches(table, config, 2), strict=True):
        if one.image.tobytes() != two.image.tobytes():
            raise RunError(f"two threads make another batch of films {one.indices} than one")


def _batches(table: FilmTable, config: Config, threads: int) -> Iterator[Batch]:
    return work_ahead(training_batches(table, config.augment, BATCH_SIZE, 0, 1), threads)


def _full_size(records: Sequence[Record], config: Config) -> Iterator[object]:
    """Decode and augment whole films, then resize them; on as many threads as ours."""
    view = View.of(config.data)

    def task(number: int) -> Callable[[], object]:
        def make() -> object:
            record = records[number]
            image = read_pixels(record.image_path)
            frame = geometry.whole_film((image.shape[1], image.shape[0]))
            landmarks = geometry.normalise(record.landmarks_px, frame).astype(np.float32)
            image, _ = augment(image, landmarks, np.random.default_rng(number), config.augment)
            return view.show(image)

        return make

    return work_ahead(map(task, range(len(records))), cpu_count())


def _time(items: Iterator[object], films: int) -> float:
    begin = time.perf_counter()
    for _ in items:
        pass
    return (time.perf_counter() - begin) / films


def _train(table: FilmTable, config: Config, case: dict[str, Any], ours_s: float) -> Row:
    """Train for two epochs, of which the first compiles; return the second's time for a film."""
    from cephray.checkpoint import Progress
    from cephray.training import build_replica, run_epoch

    worker = Worker(threads=cpu_count())
    replica = build_replica(config, table, rank=0, world_size=1, show=lambda line: None)
    films = Films(table, None)
    _, progress = run_epoch(config, films, worker, replica, Progress())
    row, _ = run_epoch(config, films, worker, replica, progress)
    assert row is not None  # nobody asked this worker to stop
    film_s = 1 / row["films_per_s"]
    return Row(
        case={**case, "waiting_percent": row["waiting_percent"]},
        subject=f"training, {config.model.backbone}",
        direction="film",
        median_s=film_s,
        p10_s=film_s,
        p90_s=film_s,
        peak_bytes=None,
        ratio_to_ours=film_s / ours_s,
    )
