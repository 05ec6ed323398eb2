"""`cephray benchmark predict`: films per second, beside the published way, head by head.

The network takes a batch of films, beside the same network with features anew for each head and
beside its backbone alone; nothing is timed that finds other landmarks. Then a folder is predicted
from files to files, beside each part of that alone. It knows the cases and the report, and no
TensorFlow.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cephray.benchmark.timing import OURS, Row, format_rows, machine_facts, measure, write_json
from cephray.config import Config, load_config
from cephray.data import FilmFile, FloatArray, View, find_films, stack_films, write_dataset
from cephray.landmarks import landmark_set
from cephray.prediction import BATCH_SIZE
from cephray.progress import import_tensorflow

if TYPE_CHECKING:
    import keras

PACKAGES = ("cephray", "tensorflow", "keras", "numpy", "opencv-python")
SECONDS = 30.0  # of one case
DRAWN_FILMS = 12
MOST_FILMS = 24  # of a folder: they are held in memory


@dataclass(frozen=True)
class Case:
    """A network, by its settings that cost time."""

    name: str
    overrides: tuple[str, ...]

    @property
    def config(self) -> Config:
        """The configuration of the network."""
        return load_config(overrides=self.overrides)


# Not at the paper's own 800 × 640, of four times the pixels: on a CPU one turn takes half a minute
# as it is, in which head by head runs the backbone 20 times on 4 films.
PAPER = Case(
    "paper",
    (
        "data.image_height=416",
        "data.image_width=320",
        "model.backbone=resnet50",
        "model.backbone_weights=imagenet",
    ),
)
BEST = Case(
    "best",
    (
        "data.image_height=640",
        "data.image_width=512",
        "data.fit=letterbox",
        "model.backbone=efficientnet_lite2",
        "model.backbone_weights=imagenet",
        "model.fusion_depth=4",
        "model.fusion_channels=96",
        "model.crop_depth=3",
        "model.window_cells=[7, 7, 7, 7]",
        "model.roi_pool_size=7",
        "model.head=dense",
        "model.head_channels=48",
        "model.head_units=96",
        "model.refinement_passes=2",
        "model.offset_unit=window",
        "model.spread=true",
        "model.detection_channels=32",
        "model.detection_heatmap=true",
        "loss.error=laplace",
        "loss.unit=mm",
    ),
)
CASES = (PAPER, BEST)
FOLDER_CASE = BEST


def run(
    data: Path | None = None, json_path: Path | None = None, show: Callable[[str], None] = print
) -> list[Row]:
    """Check, time, show tables; write the JSON file where it is asked for.

    Args:
        data: folder of films, of which the first `MOST_FILMS` are used. If None, the network takes
            noise, and the folder is drawn.
        json_path: file to write, or None.
        show: takes the tables a block at a time.

    Raises:
        InputError: the folder holds no film, or one that cannot be read.
        RunError: head by head finds other landmarks than ours.
    """
    files = find_films([data])[:MOST_FILMS] if data is not None else None
    import_tensorflow()
    machine = machine_facts(PACKAGES)
    rows: list[Row] = []
    for case in CASES:
        show(f"\ntiming the network of case {case.name}")
        block = measure_network(case, files, SECONDS)
        rows += block
        show(format_rows(block))
        show(network_summary(block))
    with tempfile.TemporaryDirectory(prefix="cephray-") as folder:
        if files is None:
            show(f"\ndrawing {DRAWN_FILMS} films")
            write_dataset(Path(folder) / "films", DRAWN_FILMS)
            files = find_films([Path(folder) / "films"])
        show(f"\ntiming {len(files)} films from files to files")
        block = measure_folder(FOLDER_CASE, files, Path(folder), SECONDS)
    rows += block
    show(format_rows(block))
    show(folder_summary(block))
    if json_path is not None:
        write_json(json_path, machine, rows)
        show(f"rows in {json_path}")
    return rows


def measure_network(case: Case, files: Sequence[FilmFile] | None, seconds: float) -> list[Row]:
    """Time a batch of films: ours, head by head, the backbone alone.

    Args:
        case: of the network.
        files: films of which the first make the batch, again and again where they are too few;
            If None, noise.
        seconds: of all subjects together.

    Raises:
        InputError: a film cannot be read.
        RunError: head by head finds other landmarks than ours.
    """
    from cephray.benchmark.predict_subjects import (
        build_drawn_network,
        build_forwards,
        check,
        timed,
    )

    config = case.config
    images = _images(config, files)
    network = build_drawn_network(config, images)
    forwards = build_forwards(network)
    check(forwards, images)
    subjects = {name: timed(forward, images) for name, forward in forwards.items()}
    facts = _facts(case, network) | {"batch": len(images), "noise": files is None}
    return measure({"measured": "network", **facts}, "film", subjects, seconds)


def measure_folder(
    case: Case, files: Sequence[FilmFile], folder: Path, seconds: float
) -> list[Row]:
    """Time the prediction of films from files to files, and its parts.

    Args:
        case: of the network.
        files: the films.
        folder: for the network's checkpoint and the results.
        seconds: of all subjects together.

    Raises:
        InputError: a film cannot be read or drawn.
    """
    from cephray.benchmark.predict_folder import folder_subjects
    from cephray.benchmark.predict_subjects import build_drawn_network
    from cephray.checkpoint import Progress, open_checkpoint, save_checkpoint
    from cephray.prediction import Detector

    config = case.config
    network = build_drawn_network(config, _images(config, files))
    save_checkpoint(folder / "checkpoint", config, Progress(), network)
    detector = Detector(open_checkpoint(folder / "checkpoint"))
    landmarks = landmark_set(config.data.landmarks)
    subjects = folder_subjects(detector, files, landmarks, folder / "results")
    facts = _facts(case, network) | {"films": len(files)}
    return measure({"measured": "folder", **facts}, "film", subjects, seconds)


def _images(config: Config, files: Sequence[FilmFile] | None) -> FloatArray:
    """Make the network's input [B, H, W, 3] of films, or of noise."""
    from cephray.benchmark.predict_folder import read_films
    from cephray.model import to_input

    view = View.of(config.data)
    if files is None:
        noise = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE, *view.size), np.uint8)
        return np.asarray(to_input(noise))
    films = read_films(files[:BATCH_SIZE], view, landmark_set(config.data.landmarks))
    images = [film.image for film in islice(cycle(films), BATCH_SIZE)]
    return np.asarray(to_input(stack_films(images, view.size)))


def _facts(case: Case, network: keras.Model) -> dict[str, Any]:
    config = case.config
    return {
        "network": case.name,
        "backbone": config.model.backbone,
        "height": config.data.image_height,
        "width": config.data.image_width,
        "landmarks": len(landmark_set(config.data.landmarks)),
        "passes": config.model.refinement_passes,
        "parameters": network.count_params(),
    }


def network_summary(rows: Sequence[Row]) -> str:
    """Return a line with the network's speed, and that of the published way."""
    from cephray.benchmark.predict_subjects import BACKBONE, HEAD_BY_HEAD

    by_name = {row.subject: row for row in rows}
    case, ours = rows[0].case, by_name[OURS].median_s
    return (
        f"{case['backbone']} at {case['height']} × {case['width']}: {1 / ours:.2f} films/s; "
        f"head by head takes {by_name[HEAD_BY_HEAD].median_s / ours:.1f} × ours, "
        f"ours {ours / by_name[BACKBONE].median_s:.2f} × its backbone alone"
    )


def folder_summary(rows: Sequence[Row]) -> str:
    """Return a line with the speed of a folder's prediction, and that of the network alone."""
    from cephray.benchmark.predict_folder import NETWORK

    by_name = {row.subject: row for row in rows}
    ours, network = by_name[OURS].median_s, by_name[NETWORK].median_s
    return (
        f"{rows[0].case['films']} films from files to files: {1 / ours:.2f} films/s; "
        f"the network alone {1 / network:.2f} films/s, {100 * network / ours:.0f} % of the time"
    )
