"""Marks of one film by its readers, as annotation files contain them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cephray.errors import InputError

Points = NDArray[np.float64]
_Value = TypeVar("_Value")


@dataclass(frozen=True, eq=False)
class MarkedFilm:
    """A film's name and the marks on it.

    Args:
        film: name of the film, without suffix.
        readers_px: marks [K, 2] by reader, pixels; NaN where missing.
        image: file name of the film with `/` between folders, or None if it is not given.
        size_px: (width, height) of the film, pixels, or None if it is not given.
        spacing_mm: millimetres per pixel, or None if it is not given.
        rulers_px: two points [2, 2] of a ruler by reader, pixels.
        class_labels: class labels of the ISBI data set, or None.
        radii_95_px: radii [K] by reader that hold 95 % of the errors of the marks, pixels; NaN
            where unknown.
        doubtful: reasons why the marks cannot be right, by reader, if they are a prediction.
    """

    film: str
    readers_px: Mapping[str, Points]
    image: str | None = None
    size_px: tuple[int, int] | None = None
    spacing_mm: float | None = None
    rulers_px: Mapping[str, Points] = field(default_factory=dict)
    class_labels: tuple[int, ...] | None = None
    radii_95_px: Mapping[str, Points] = field(default_factory=dict)
    doubtful: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def by(self, reader: str) -> MarkedFilm:
        """Return the film with the marks of one reader alone."""

        def of_reader(given: Mapping[str, _Value]) -> dict[str, _Value]:
            return {name: value for name, value in given.items() if name == reader}

        return replace(
            self,
            readers_px={reader: self.readers_px[reader]},
            rulers_px=of_reader(self.rulers_px),
            radii_95_px=of_reader(self.radii_95_px),
            doubtful=of_reader(self.doubtful),
        )


def merge_films(parts: Iterable[MarkedFilm]) -> list[MarkedFilm]:
    """Join the marks of the readers of each film.

    Args:
        parts: films with the marks of some of their readers.

    Returns:
        Each film once, in the order in which they occur first.

    Raises:
        InputError: If a reader marked a film twice, or two parts of a film differ in its size or
            spacing.
    """
    films: dict[str, MarkedFilm] = {}
    for part in parts:
        films[part.film] = _join(films[part.film], part) if part.film in films else part
    return list(films.values())


def _join(first: MarkedFilm, second: MarkedFilm) -> MarkedFilm:
    twice = first.readers_px.keys() & second.readers_px.keys()
    if twice:
        raise InputError(
            f"film {first.film!r} is marked twice by reader {min(twice)!r}; remove one of the two"
        )
    for name in ("size_px", "spacing_mm"):
        one, other = getattr(first, name), getattr(second, name)
        if None not in (one, other) and one != other:
            raise InputError(
                f"film {first.film!r} has {name} {one} with one reader's marks and {other} with"
                " another's; correct one of the two"
            )
    return MarkedFilm(
        film=first.film,
        readers_px={**first.readers_px, **second.readers_px},
        image=first.image or second.image,
        size_px=first.size_px or second.size_px,
        spacing_mm=first.spacing_mm or second.spacing_mm,
        rulers_px={**first.rulers_px, **second.rulers_px},
        class_labels=first.class_labels or second.class_labels,
        radii_95_px={**first.radii_95_px, **second.radii_95_px},
        doubtful={**first.doubtful, **second.doubtful},
    )


def merge_by_image(parts: Iterable[MarkedFilm]) -> list[MarkedFilm]:
    """Join the marks of the readers of each film, which is known by its image.

    A film is named by the stem of its image's file name, or by the whole path if images in several
    folders have the same stem: `a/1.png` and `b/1.png` are then the films "a/1" and "b/1".

    Args:
        parts: films with the marks of some of their readers, and with their images.

    Raises:
        InputError: As in `merge_films`.
    """
    films = merge_films(replace(part, film=part.image or part.film) for part in parts)
    stems = [PurePosixPath(film.film).stem for film in films]
    counts = Counter(stems)
    return [
        replace(
            film,
            film=stem
            if counts[stem] == 1
            else PurePosixPath(film.film).with_suffix("").as_posix(),
        )
        for film, stem in zip(films, stems, strict=True)
    ]
