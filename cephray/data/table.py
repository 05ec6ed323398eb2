"""Tables of decoded films: landmarks and sizes as arrays, images as references.

It knows records, films and Ray's tasks, and neither the order of films nor batches.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.data.dataset import Record
from cephray.data.films import Film, GrayImage, View, load_film
from cephray.errors import InputError
from cephray.plausibility import ShapeStatistics, shape_statistics

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FilmTable:
    """Decoded films: landmarks and sizes as arrays, images as references.

    `images` holds arrays [H, W] or references to such in Ray's object store, which are fetched
    when a batch needs them.
    """

    films: tuple[str, ...]  # N names
    landmarks_norm: FloatArray  # [N, K, 2], NaN where missing
    frame_px: NDArray[np.int64]  # [N, 2], (width, height) of what is seen of the originals
    spacing_mm: NDArray[np.float64]  # [N], of the originals
    image_size: tuple[int, int]  # (H, W)
    images: Sequence[Any] = field(repr=False)  # N times [H, W]
    digests: tuple[str, ...] = field(default=(), repr=False)  # N, of the images

    def __len__(self) -> int:
        """Return N."""
        return len(self.films)

    @property
    def extent_mm(self) -> FloatArray:
        """Width and height of each film's frame in millimetres: [N, 2]."""
        return (self.frame_px * self.spacing_mm[:, None]).astype(np.float32)

    @property
    def mean_shape(self) -> FloatArray:
        """Mean of the landmarks over the films, normalised: [K, 2]."""
        mean: FloatArray = np.nanmean(self.landmarks_norm, axis=0)
        return mean

    @cached_property
    def shapes(self) -> ShapeStatistics | None:
        """Statistics of the landmarks' shapes, for a checkpoint."""
        landmarks_px = self.landmarks_norm * self.frame_px[:, None, :]
        return shape_statistics(landmarks_px, self.frame_px[:, 1], self.spacing_mm)

    @property
    def fingerprint(self) -> str:
        """Digest of everything that training reads from the table."""
        digest = hashlib.sha256()
        for film, image in zip(self.films, self.digests, strict=True):
            digest.update(f"{film}\n{image}\n".encode())
        digest.update(self.landmarks_norm.tobytes() + self.extent_mm.tobytes())
        return digest.hexdigest()

    def fetch(self, indices: Sequence[int]) -> list[GrayImage]:
        """Return the images of some films, [H, W] each; read-only."""
        wanted = [self.images[index] for index in indices]
        if not wanted or isinstance(wanted[0], np.ndarray):
            return wanted
        import ray

        fetched: list[GrayImage] = ray.get(wanted)
        return fetched


@dataclass(frozen=True, eq=False)
class Films:
    """The films of a run. Without validation films the last epoch is the best."""

    training: FilmTable
    validation: FilmTable | None

    @property
    def fingerprint(self) -> str:
        """Digest of all films; a run goes on with the films that it began with."""
        held_out = self.validation.fingerprint if self.validation else ""
        return f"{self.training.fingerprint}{held_out}"


def decode(records: Sequence[Record], view: View) -> Iterator[Film]:
    """Decode films one after the other, in this process.

    Raises:
        InputError: a film cannot be used.
    """
    return (load_film(record, view) for record in records)


def decode_on_cluster(
    records: Sequence[Record],
    view: View,
    progress: Callable[[int], None] = lambda decoded: None,
) -> FilmTable:
    """Decode films in Ray tasks, one a film; the images stay in the object store.

    A film whose node is lost is decoded again when a batch needs it. The tasks ask for no CPU, so
    that they can run while workers hold all; no more run at a time than there are CPUs.

    Args:
        records: the films, on paths that all nodes share.
        view: how films become images of the network's size.
        progress: called with the number of films decoded since the last call.

    Raises:
        InputError: a film cannot be used.
    """
    import ray

    task: Any = ray.remote(num_cpus=0, num_returns=2, scheduling_strategy="SPREAD")(_decode_task)
    cpus = ray.cluster_resources().get("CPU", 1)  # type: ignore[no-untyped-call]
    at_once = max(1, int(cpus))
    # A relative path means the caller's folder; the tasks run where their node was started.
    waiting = (replace(one, image_path=one.image_path.absolute()) for one in records)
    pairs: list[tuple[Any, Any]] = []
    pending: list[Any] = []
    while True:
        for record in itertools.islice(waiting, at_once - len(pending)):
            pairs.append(tuple(task.remote(record, view)))
            pending.append(pairs[-1][1])
        if not pending:
            break
        done, pending = ray.wait(pending)
        try:
            ray.get(done)
        except ray.exceptions.RayTaskError as error:
            for running in pending:
                ray.cancel(running, force=False)
            if isinstance(error.cause, InputError):
                raise error.cause from None
            raise
        progress(len(done))
    details = ray.get([film for _, film in pairs])
    films = [film for film, _ in details]
    return FilmTable(
        films=tuple(film.film for film in films),
        landmarks_norm=np.stack([film.landmarks_norm for film in films]),
        frame_px=np.array([film.frame.size for film in films]),
        spacing_mm=np.array([film.spacing_mm for film in films]),
        image_size=view.size,
        images=[image for image, _ in pairs],
        digests=tuple(digest for _, digest in details),
    )


def _decode_task(record: Record, view: View) -> tuple[GrayImage, tuple[Film, str]]:
    """Return the image, and separately everything that the driver needs at once."""
    film = load_film(record, view)
    details = replace(film, image=np.zeros((0, 0), np.uint8), pixels=None)
    return film.image, (details, hashlib.sha256(film.image.tobytes()).hexdigest())
