"""Prediction with Ray Data: films are read, detected and drawn on all nodes.

Three stages, each on many films at a time: tasks read, a pool of actors holds the network, tasks
draw. Results come back to the driver, which alone writes. What is done with a film is
`films.py`'s; this file knows Ray, and how many workers a cluster has room for.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cephray.checkpoint import Checkpoint
from cephray.cluster import (
    cluster_nodes,
    cpus_per_worker,
    describe_workers,
    network_environment,
)
from cephray.data import FilmFile, View, cv2
from cephray.errors import InputError, RunError
from cephray.landmarks import LandmarkSet
from cephray.prediction.detector import BATCH_SIZE, Detection, Detector
from cephray.prediction.files import write_output
from cephray.prediction.films import Outcome, Output, output_of, read
from cephray.prediction.result import ReadFilm
from cephray.progress import quiet_stderr
from cephray.storage import Place, RemotePath

# Up to this many films, starting Ray takes longer than predicting them, even at the paper's size.
A_HANDFUL = 16

# A batch of a few films leaves more threads than this idle: several workers are faster.
_CPUS_PER_WORKER = 4

# Where nothing at all has happened for this long, TensorFlow's import and the fetching of a
# checkpoint included, nothing will.
_STANDSTILL_S = 600.0

Row = dict[str, Any]  # {"item": bytes}: Arrow would look into anything else


class Workers(NamedTuple):
    """The pool of actors: how many, and what each asks for."""

    size: int
    cpus: int
    gpus: float = 0.0


def wants_cluster(films: int, workers: int | None) -> bool:
    """Return whether to predict on a cluster: for many films, or if one is there or asked for."""
    address = os.environ.get("RAY_ADDRESS", "local")
    return films > A_HANDFUL or workers is not None or address != "local"


@contextmanager
def quiet_cluster(show: Callable[[str], None] = print) -> Iterator[None]:
    """Connect to Ray for the length of the block, without its messages on the terminal.

    Args:
        show: takes the line that says which cluster is used, if none was asked for.
    """
    from cephray.cluster import connected

    # Native code writes there past Python's logging; a cluster that is started here inherits it.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with ExitStack() as stack:
        with quiet_stderr():  # it says even that it is to be quiet
            stack.enter_context(connected(False, show, dashboard=False))
        yield


def predict_on_cluster(
    checkpoint: Checkpoint,
    files: Sequence[FilmFile],
    landmarks: LandmarkSet,
    spacing_mm: float | None = None,
    workers: int | None = None,
    show: Callable[[str], None] = print,
    others: Sequence[Checkpoint] = (),
    output: Place | None = None,
    blank_percent: float = 0.0,
) -> Iterator[Outcome]:
    """Predict films on the connected cluster.

    Args:
        checkpoint: on a path that all nodes share, or in a store.
        files: the films, on such a path or in a store.
        landmarks: names of the landmarks.
        spacing_mm: millimetres per pixel of films that do not know their own.
        workers: number of networks that work at a time. If None, as many as there is room for.
        show: takes the line that says what is waited for.
        others: checkpoints that make an ensemble with it.
        output: folder of the results. If it is in a store, each film's files are written there by
            the cluster. Otherwise the caller writes them.
        blank_percent: size of the corners that are blanked, as in `blank_corners`.

    Yields:
        The outcome of each film once, in any order.

    Raises:
        InputError: the checkpoint cannot be used.
        RunError: the cluster has no room, or stands still.
    """
    import ray.data

    blocks = -(-len(files) // BATCH_SIZE)
    pool = room_for(workers, blocks, checkpoint.config.train.wait_for_resources_s, show)
    checkpoints = [_absolute(one) for one in (checkpoint, *others)]
    view = View.of(checkpoint.config.data)
    output = output if isinstance(output, RemotePath) else None
    # Reading and drawing ask for no CPU, as the networks hold them all; no more than a task for
    # each CPU runs at a time.
    at_once = max(1, sum(node.cpus for node in cluster_nodes()))
    light: dict[str, Any] = {"num_cpus": 0, "compute": ray.data.TaskPoolStrategy(size=at_once)}
    with ray.data.DataContext.current(_context()):
        numbered = [
            {"item": pickle.dumps((number, FilmFile(name, path.absolute())))}
            for number, (name, path) in enumerate(files)
        ]
        rows = (
            ray.data.from_items(numbered, override_num_blocks=blocks)
            .map(
                partial(
                    _read,
                    view=view,
                    count=len(landmarks),
                    spacing_mm=spacing_mm,
                    blank_percent=blank_percent,
                ),
                **light,
            )
            .map_batches(
                _Worker,
                fn_constructor_args=(checkpoints, pool.cpus, pool.gpus > 0),
                batch_size=BATCH_SIZE,
                compute=ray.data.ActorPoolStrategy(size=pool.size),
                num_cpus=pool.cpus,
                num_gpus=pool.gpus,
            )
            .map(partial(_draw, landmarks=landmarks, output=output), **light)
        )
        try:
            for row in rows.iter_rows():
                item = pickle.loads(row["item"])
                if isinstance(item, Exception):
                    raise item
                yield item
        except ray.data.exceptions.ExecutionTimeoutError as error:
            raise RunError(
                f"no film came back for {_STANDSTILL_S:g} s; asked for"
                f" {describe_workers(pool.size, pool.cpus, pool.gpus)}: other work may hold the"
                " cluster (`ray status` tells); wait for it, or use fewer workers (--num-workers)"
            ) from error
        except ray.exceptions.RayError as error:
            lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
            # An actor that died in its constructor tells the cause at the end of its traceback.
            cause = lines[-1 if isinstance(error, ray.exceptions.ActorDiedError) else 0].strip()
            raise RunError(f"the prediction failed on the cluster: {cause}") from error


def room_for(
    workers: int | None, batches: int, wait_s: float, show: Callable[[str], None]
) -> Workers:
    """Choose the pool of workers.

    Args:
        workers: number of workers. If None, one for each GPU that is free; without GPUs one for
            every few CPUs that are free, at least one. If there are more workers than GPUs, they
            share them.
        batches: there are to compute; no more workers are chosen than that.
        wait_s: how long to wait for nodes, seconds.
        show: takes the line that says what is waited for.

    Raises:
        RunError: the cluster has not the CPUs for so many.
    """
    import ray

    cpus_per_worker(1, 0, None, wait_s, show=show)  # waits for the first node
    nodes = [node for node in cluster_nodes() if node.cpus]
    free = ray.available_resources()  # type: ignore[no-untyped-call]
    free_gpus = int(free.get("GPU", 0))
    if free_gpus:
        size = workers or min(batches, free_gpus)
        # Reading and drawing need the other CPUs.
        share = 1 / -(-size // free_gpus)
        cpus = cpus_per_worker(size, share, None, wait_s, show=show)
        return Workers(size, min(_CPUS_PER_WORKER, cpus), share)
    if workers is not None:
        return Workers(workers, cpus_per_worker(workers, 0, None, wait_s, show=show))
    cpus = min(_CPUS_PER_WORKER, *(node.cpus for node in nodes)) if nodes else 1
    at_once = min(int(free.get("CPU", 0)) // cpus, sum(node.cpus // cpus for node in nodes))
    return Workers(max(1, min(batches, at_once)), cpus)


def _context() -> Any:
    """Return Ray Data's settings: quiet, with errors as they were raised, and with an end."""
    import ray.data

    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":  # the other one writes into the session's folder
            handler.setLevel(logging.CRITICAL + 1)
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True
    context.execution_no_progress_timeout_s = _STANDSTILL_S
    return context


def _absolute(checkpoint: Checkpoint) -> Checkpoint:
    """Name its folder as workers find it: they need not be where the driver is."""
    if isinstance(checkpoint.folder, Path):
        return replace(checkpoint, folder=checkpoint.folder.absolute())
    return checkpoint


def _read(row: Row, view: View, count: int, spacing_mm: float | None, blank_percent: float) -> Row:
    """Read a film, in a task."""
    number, file = pickle.loads(row["item"])
    if isinstance(file.path, Path) and not file.path.exists():
        missing = (
            f"film {file.path} does not exist on every node; put films on a path that all share"
        )
        return _row((number, InputError(missing)))
    cv2.setNumThreads(1)  # the other CPUs have tasks of their own
    film = read(number, file, view, count, spacing_mm, blank_percent)
    return _row(film if isinstance(film, ReadFilm) else (number, film))


class _Worker:
    """The network, in an actor; it passes on what could not be read."""

    def __init__(self, checkpoints: Sequence[Checkpoint], cpus: int, on_gpu: bool) -> None:
        # What is raised here comes to the driver as text; what is returned, as it is.
        self._failure: Exception | None = None
        try:
            self._detector = self._load(checkpoints, cpus, on_gpu)
        except (InputError, RunError) as error:
            self._failure = error

    def _load(self, checkpoints: Sequence[Checkpoint], cpus: int, on_gpu: bool) -> Detector:
        for checkpoint in checkpoints:
            if isinstance(checkpoint.folder, Path) and not checkpoint.folder.exists():
                raise InputError(
                    f"checkpoint {checkpoint.folder} does not exist on every node; put it on a"
                    " path that all nodes share, or give a URI"
                )
        os.environ.update(network_environment(on_gpu))
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(cpus)
        tf.config.threading.set_inter_op_parallelism_threads(cpus)
        return Detector(*checkpoints)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        if self._failure is not None:
            return {"item": [pickle.dumps(self._failure)]}
        items = [pickle.loads(item) for item in batch["item"]]
        films = [item for item in items if isinstance(item, ReadFilm)]
        done = [item for item in items if not isinstance(item, ReadFilm)]
        found = [*done, *self._detector.detect(films)]
        return {"item": [pickle.dumps(item, protocol=5) for item in found]}


def _draw(row: Row, landmarks: LandmarkSet, output: RemotePath | None) -> Row:
    """Return the output of a film, in a task; write it, if there is a folder for it."""
    cv2.setNumThreads(1)
    item = pickle.loads(row["item"])
    if not isinstance(item, Detection):
        return row
    number, outcome = output_of(item, landmarks)
    if output is not None and isinstance(outcome, Output):
        try:
            write_output(outcome, output / outcome.facts["film"])
        except (InputError, RunError) as error:
            return _row(error)  # what is returned comes to the driver as it is
        outcome = replace(outcome, picture=b"")
    return _row((number, outcome))


def _row(item: Any) -> Row:
    return {"item": pickle.dumps(item, protocol=5)}
