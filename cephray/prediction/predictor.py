"""The landmarks of films for Python users: films in, a result of each out.

It joins checkpoints, films in any form, and the detector.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from cephray.checkpoint import open_checkpoints
from cephray.data import Original, film_from_array, read_film
from cephray.errors import InputError
from cephray.landmarks import LandmarkSet, landmark_set
from cephray.prediction.detector import Detector
from cephray.prediction.films import film_for_network
from cephray.prediction.result import FilmResult, ReadFilm, result_of
from cephray.progress import import_tensorflow
from cephray.storage import Place, RemotePath, place

Image = NDArray[Any] | str | PathLike[str] | Original
"""A film: an array, a path, or what `cephray.read_film` returns."""

Films = list[Any] | tuple[Any, ...]
"""Several films, each an `Image`."""


def load(
    checkpoint: str | Place | Sequence[str | Place] | None = None, overrides: Sequence[str] = ()
) -> Predictor:
    """Load a network that finds the landmarks of films.

    Example:
        >>> found = cephray.load().predict("film.png", spacing_mm=0.25)
        >>> found.points_px.shape
        (19, 2)

    Args:
        checkpoint: Path or URI of a checkpoint, or of the output folder of a training run, whose
            best checkpoint is then taken. Several make an ensemble. If None, the shipped
            checkpoint is loaded.
        overrides: `inference.key=value` each, how the network is used, as with `--set`.

    Returns:
        A predictor.

    Raises:
        InputError: there is no complete checkpoint, or the networks do not fit together.
        RunError: an object store cannot be reached.
    """
    checkpoints = open_checkpoints(checkpoint, overrides)
    if not checkpoints:
        raise InputError("checkpoint is an empty list; give at least one, or None")
    import_tensorflow()
    return Predictor(Detector(*checkpoints), landmark_set(checkpoints[0].config.data.landmarks))


class Predictor:
    """A network, or an ensemble of several, that finds the landmarks of films. See `load`.

    Attributes:
        landmarks: The set of K landmarks that it finds.
    """

    def __init__(self, detector: Detector, landmarks: LandmarkSet) -> None:
        self.landmarks = landmarks
        self._detector = detector

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the K landmarks, in order."""
        return self.landmarks.names

    @overload
    def predict(
        self,
        image: list[Any] | tuple[Any, ...],
        spacing_mm: float | Sequence[float | None] | None = None,
    ) -> list[FilmResult]: ...

    @overload
    def predict(self, image: Image, spacing_mm: float | None = None) -> FilmResult: ...

    def predict(
        self,
        image: Image | Films,
        spacing_mm: float | Sequence[float | None] | None = None,
    ) -> FilmResult | list[FilmResult]:
        """Find the landmarks of one film or of several.

        Example:
            >>> predictor = cephray.load()
            >>> grey = np.full((600, 484), 0.5)
            >>> [found.doubtful for found in predictor.predict([grey, "film.png"], 0.25)]
            [('the film has hardly any contrast', ...), ()]

        Args:
            image: A film, or a list of films. A film is an array [H, W], or [H, W, 3] in red,
                green, blue, of uint8, uint16, or floating in [0, 1]; or a path of a file that
                `cephray.read_film` reads; or what that returns.
            spacing_mm: Millimetres per pixel of films that do not know their own, or a list with
                one entry for each film. None if unknown: then nothing is measured in millimetres.

        Returns:
            The result of the film, or a list of results in the order of the films. A film's result
            does not depend on the other films, but for rounding in the network.

        Raises:
            InputError: a film or a spacing cannot be used; names its place in the list.
        """
        several = isinstance(image, list | tuple)
        images = list(image) if isinstance(image, list | tuple) else [image]
        films = list(self._films(images, _spacings(spacing_mm, len(images), several), several))
        found = [result_of(one, self.landmarks) for one in self._detector.detect(films)]
        return found if several else found[0]

    def _films(
        self, images: Sequence[Any], spacings_mm: Sequence[float | None], several: bool
    ) -> Iterator[ReadFilm]:
        for number, (image, spacing_mm) in enumerate(zip(images, spacings_mm, strict=True)):
            try:
                name, original = _read(image, number)
                if spacing_mm is not None and not 0 < spacing_mm < math.inf:
                    raise InputError(
                        f"spacing_mm must be millimetres per pixel, above 0; got {spacing_mm:g}"
                    )
            except InputError as error:
                raise InputError(f"image[{number}]: {error}" if several else str(error)) from None
            yield film_for_network(
                number,
                name,
                original,
                self._detector.view,
                len(self.landmarks),
                spacing_mm,
            )


def _read(image: Any, number: int) -> tuple[str, Original]:
    """Return the name and the grey values of a film."""
    if isinstance(image, str | PathLike | RemotePath):
        path = place(image)
        return path.stem, read_film(path)
    name = f"film {number + 1}"
    if isinstance(image, Original):
        return name, image
    if isinstance(image, np.ndarray):
        return name, film_from_array(image)
    raise InputError(
        "a film must be a NumPy array, a path, or what cephray.read_film returns; "
        f"got {type(image).__name__}"
    )


def _spacings(
    spacing_mm: float | Sequence[float | None] | None, count: int, several: bool
) -> list[float | None]:
    """Return a spacing for each film."""
    if spacing_mm is None or isinstance(spacing_mm, int | float | np.integer | np.floating):
        return [None if spacing_mm is None else float(spacing_mm)] * count
    try:
        given = [None if one is None else float(one) for one in spacing_mm]
    except (TypeError, ValueError):
        given = None
    if given is None or not several or isinstance(spacing_mm, str):
        raise InputError(
            "spacing_mm must be a number, None, or for a list of films a list of these; "
            f"got {spacing_mm!r}"
        )
    if len(given) != count:
        raise InputError(f"spacing_mm has {len(given)} entries for {count} films")
    return given
