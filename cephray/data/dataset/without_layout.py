"""Reading of data sets without a known layout: marks, films and spacings become `Record`s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

from cephray.config import DataConfig
from cephray.data.convert import Labels, MarkedFilm
from cephray.data.dataset.annotated import Annotated, Images, read_marks
from cephray.data.dataset.pairing import OnFault
from cephray.data.dataset.record import (
    ALL,
    IMAGE_SUFFIXES,
    MEAN,
    Record,
    Split,
    drawn_marks,
    true_marks,
)
from cephray.data.dataset.spacings import SPACING_FILE, film_spacing, read_spacings
from cephray.data.dicom import DICOM_SUFFIXES, is_dicom, read_dicom_spacing
from cephray.errors import InputError
from cephray.landmarks import ISBI2015, landmark_set
from cephray.storage import READS_AT_ONCE, Place

_SUFFIXES = (*IMAGE_SUFFIXES, *DICOM_SUFFIXES)


def read_annotated(
    source: Annotated, split: str, data: DataConfig, on_fault: OnFault
) -> list[Record]:
    """Read all films of a data set; see `read_dataset`.

    Args:
        source: its annotation files.
        split: "all", since there are no splits.
        data: landmark set, reader and spacing.
        on_fault: called with the faults of single films.
    """
    if split not in get_args(Split):
        raise InputError(f"split must be one of {', '.join(get_args(Split))}; got {split!r}")
    if split != "all":
        raise InputError(
            f"split {split!r}: the annotations in {source.folder} have no splits; use 'all'"
            " (data.training=all)"
        )
    labels = Labels(landmark_set(data.landmarks), data.unknown_labels)
    marked = read_marks(source, labels, on_fault)
    _require_reader(source, marked, data.reader)
    images = Images(source.folder, _SUFFIXES)
    spacings_mm = read_spacings(source.folder) or {}

    def read(film: MarkedFilm) -> Record | InputError:
        try:
            _require_marks_of(film, data.reader)
            image = images.of(film)
            return Record(
                film=film.film,
                image_path=image,
                landmarks_px=true_marks(film.readers_px, data.reader),
                spacing_mm=_spacing(film, image, spacings_mm, source, data),
                split=split,
                readers_px=film.readers_px,
                class_labels=film.class_labels,
                size_px=film.size_px,
                truths_px=drawn_marks(film.readers_px, data.reader),
            )
        except InputError as fault:
            return fault

    records = []
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        for film, found in zip(marked, pool.map(read, marked), strict=True):
            if isinstance(found, InputError):
                on_fault([film.film], found)
            else:
                records.append(found)
    if not records and not marked:
        raise InputError(f"data {source.folder}: the annotations contain no marked film")
    return records


def annotated_films(source: Annotated) -> dict[str, Place]:
    """Return the image file of each film that is annotated and has one."""
    images = Images(source.folder, _SUFFIXES)
    faulty: list[MarkedFilm] = []

    def keep(films: Sequence[str], fault: InputError) -> None:
        faulty.extend(MarkedFilm(film, {}) for film in films)

    films = {}
    for film in [*read_marks(source, Labels(ISBI2015, "ignore"), keep), *faulty]:
        try:
            films[film.film] = images.of(film)
        except InputError:
            continue  # `read_annotated` reports it
    return films


def _require_reader(source: Annotated, marked: list[MarkedFilm], reader: str) -> None:
    known = list(dict.fromkeys(name for film in marked for name in film.readers_px))
    if marked and reader not in (MEAN, ALL, *known):
        raise InputError(
            f"data.reader={reader}: the readers in {source.folder} are {', '.join(known)}; give"
            f" one of them, {MEAN} or {ALL}"
        )


def _require_marks_of(film: MarkedFilm, reader: str) -> None:
    if reader not in (MEAN, ALL, *film.readers_px):
        raise InputError(
            f"film {film.film!r} is not marked by reader {reader!r}; add the marks, or take"
            f" data.reader={MEAN}"
        )


def _spacing(
    film: MarkedFilm,
    image: Place,
    spacings_mm: Mapping[str, float],
    source: Annotated,
    data: DataConfig,
) -> float:
    """Return millimetres per pixel of a film.

    Raises:
        InputError: If it is unknown.
    """
    found = film_spacing(film, spacings_mm, data)
    if found is None and image.suffix.lower() in DICOM_SUFFIXES:
        content = image.read_bytes()
        found = read_dicom_spacing(content) if is_dicom(content) else None
    if found is not None:
        return found
    ruler = (
        "set data.ruler_mm to the distance between the two points of the ruler that are marked"
        if film.rulers_px
        else "mark two points of a ruler as ruler1 and ruler2 and set data.ruler_mm"
    )
    raise InputError(
        f"film {film.film!r} has no known spacing; set data.spacing_mm for all films, put"
        f" {SPACING_FILE} with columns film,spacing_mm into {source.folder}, or {ruler}"
    )
