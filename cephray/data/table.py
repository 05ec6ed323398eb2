"""Tables of decoded films: landmarks and sizes as arrays, images as references.

It knows records, films and Ray's tasks, but not the order of films or batches.
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

from cephray import geometry
from cephray.data.dataset import Record
from cephray.data.films import Film, GrayImage, View, load_film
from cephray.errors import InputError, RunError
from cephray.plausibility import ShapeStatistics, film_statistics

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FilmTable:
    """Decoded films, with landmarks and sizes as arrays and images as references.

    Args:
        films: names of the N films.
        landmarks_norm: [N, K, 2], normalised; NaN where missing.
        frame_px: [N, 2], (width, height) of the frames, pixels of the original films.
        spacing_mm: [N], millimetres per pixel of the original films.
        image_size: (H, W) of the images, pixels.
        images: N arrays [H, W], or N references to arrays in Ray's object store.
        digests: N digests of the images.
        truths_norm: marks [R, K, 2] of each film of which training draws one each time, or None
            if the truth is always `landmarks_norm`. R may differ.
    """

    films: tuple[str, ...]
    landmarks_norm: FloatArray
    frame_px: NDArray[np.int64]
    spacing_mm: NDArray[np.float64]
    image_size: tuple[int, int]
    images: Sequence[Any] = field(repr=False)
    digests: tuple[str, ...] = field(default=(), repr=False)
    truths_norm: tuple[FloatArray, ...] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        """Return N, the number of films."""
        return len(self.films)

    @property
    def extent_mm(self) -> FloatArray:
        """Width and height of each film's frame in millimetres: [N, 2]."""
        return (self.frame_px * self.spacing_mm[:, None]).astype(np.float32)

    @property
    def mean_shape(self) -> FloatArray:
        """Mean landmarks of the films, normalised: [K, 2].

        A landmark that no film has is in the middle.
        """
        is_known = np.isfinite(self.landmarks_norm)
        count = is_known.sum(axis=0)
        total = np.where(is_known, self.landmarks_norm, 0).sum(axis=0)
        return np.where(count > 0, total / np.maximum(count, 1), 0.5).astype(np.float32)

    @cached_property
    def shapes(self) -> ShapeStatistics | None:
        """Statistics of the films and their landmarks, or None if there are too few films."""
        return film_statistics(
            (self.fetch([index])[0] for index in range(len(self))),
            [geometry.Frame(0, 0, *size) for size in self.frame_px.tolist()],
            self.landmarks_norm,
            self.spacing_mm,
        )

    @property
    def fingerprint(self) -> str:
        """Digest of all values that training reads from the table."""
        digest = hashlib.sha256()
        for film, image in zip(self.films, self.digests, strict=True):
            digest.update(f"{film}\n{image}\n".encode())
        digest.update(self.landmarks_norm.tobytes() + self.extent_mm.tobytes())
        for truths in self.truths_norm or ():
            digest.update(truths.tobytes())
        return digest.hexdigest()

    def fetch(self, indices: Sequence[int]) -> list[GrayImage]:
        """Return images of films by index, each uint8 [H, W] and read-only."""
        wanted = [self.images[index] for index in indices]
        if not wanted or isinstance(wanted[0], np.ndarray):
            return wanted
        import ray

        fetched: list[GrayImage] = ray.get(wanted)
        return fetched


@dataclass(frozen=True, eq=False)
class Films:
    """The training and validation films of a run.

    Args:
        training: training films.
        validation: validation films, or None. If None, the last epoch is taken as the best.
    """

    training: FilmTable
    validation: FilmTable | None

    @property
    def fingerprint(self) -> str:
        """Digest of all films, by which a resumed run recognises its films."""
        held_out = self.validation.fingerprint if self.validation else ""
        return f"{self.training.fingerprint}{held_out}"


def decode(records: Sequence[Record], view: View) -> Iterator[Film]:
    """Decode films one after the other, in this process.

    Raises:
        InputError: If a film cannot be used.
    """
    return (load_film(record, view) for record in records)


def decode_on_cluster(
    records: Sequence[Record],
    view: View,
    progress: Callable[[int], None] = lambda decoded: None,
) -> FilmTable:
    """Decode films in Ray tasks, one for each film. The images stay in Ray's object store.

    If the node of an image is lost, the film is decoded again when a batch needs it. The tasks
    request no CPUs, so that they can run while workers occupy all of them. At most as many tasks
    run at a time as there are CPUs.

    Args:
        records: records of the films, with paths or URIs that all nodes can read.
        view: how films are fitted to the network's input.
        progress: called with the number of films decoded since the last call.

    Raises:
        InputError: If a film cannot be used.
        RunError: If the object store cannot be reached.
    """
    import ray

    task: Any = ray.remote(num_cpus=0, num_returns=2, scheduling_strategy="SPREAD")(_decode_task)
    cpus = ray.cluster_resources().get("CPU", 1)  # type: ignore[no-untyped-call]
    at_once = max(1, int(cpus))
    # Relative paths refer to the caller's folder, but tasks run in the folder of their node.
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
            if isinstance(error.cause, InputError | RunError):
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
        truths_norm=_truths(films),
    )


def _truths(films: Sequence[Film]) -> tuple[FloatArray, ...] | None:
    found = tuple(film.truths_norm for film in films if film.truths_norm is not None)
    return found or None


def _decode_task(record: Record, view: View) -> tuple[GrayImage, tuple[Film, str]]:
    """Return the image of a film, and separately all else, which the driver needs at once."""
    film = load_film(record, view)
    details = replace(film, image=np.zeros((0, 0), np.uint8), pixels=None)
    return film.image, (details, hashlib.sha256(film.image.tobytes()).hexdigest())
