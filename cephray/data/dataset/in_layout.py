"""Reading of data sets in a known folder layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

from cephray.config import DataConfig
from cephray.data.convert import Format, Labels, MarkedFilm, format_named, merge_films
from cephray.data.dataset.layouts import Layout
from cephray.data.dataset.pairing import OnFault, check_pairs
from cephray.data.dataset.record import (
    ALL,
    IMAGE_SUFFIXES,
    MEAN,
    Record,
    Split,
    drawn_marks,
    true_marks,
)
from cephray.data.dataset.spacings import SPACING_FILE, read_spacings
from cephray.errors import InputError
from cephray.landmarks import landmark_set
from cephray.storage import READS_AT_ONCE, Place, list_files, read_text


def read_layout(
    folder: Place, layout: Layout, split: str, data: DataConfig, on_fault: OnFault
) -> list[Record]:
    """Read one split of a data set; see `read_dataset`.

    Args:
        folder: folder of the data set.
        layout: its layout.
        split: split to read.
        data: landmark set, reader and spacing.
        on_fault: called with the faults of single films.
    """
    films = films_of(folder, layout)
    present = [name for name, paths in films.items() if paths]
    _check_split(folder, layout, split, present)
    _check_distinct(films)

    spacings_mm = read_spacings(folder)
    common_mm = _common_spacing(folder, layout, spacings_mm, data)
    records = []
    for name in present if split == "all" else [split]:
        readers = _reader_folders(folder, layout, name, data)
        needed = list(readers) if data.reader in (MEAN, ALL) else [data.reader]
        unmarked = check_pairs(folder, layout, name, films, readers, needed, on_fault)
        marked = [film for film in films[name] if film not in unmarked]
        for film, found in zip(marked, _read_all(marked, readers, layout, data), strict=True):
            try:
                if isinstance(found, InputError):
                    raise found
                spacing_mm = common_mm or _spacing(film, folder, spacings_mm or {})
            except InputError as fault:
                on_fault([film], fault)
                continue
            records.append(
                Record(
                    film=film,
                    image_path=films[name][film],
                    landmarks_px=true_marks(found.readers_px, data.reader),
                    spacing_mm=spacing_mm,
                    split=name,
                    readers_px=found.readers_px,
                    class_labels=found.class_labels,
                    size_px=found.size_px,
                    truths_px=drawn_marks(found.readers_px, data.reader),
                )
            )
    return records


def _visible_files(folder: Place, suffixes: tuple[str, ...]) -> Iterator[Place]:
    for path in list_files(folder):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            yield path


def films_of(folder: Place, layout: Layout) -> dict[str, dict[str, Place]]:
    """Return image file by split and film."""
    return {name: _films_in(folder / path) for name, path in layout.images.items()}


def _films_in(folder: Place) -> dict[str, Place]:
    films: dict[str, Place] = {}
    if folder.is_dir():
        for path in _visible_files(folder, IMAGE_SUFFIXES):
            if path.stem in films:
                raise InputError(
                    f"film {path.stem!r} occurs twice in {folder}: {films[path.stem].name} and"
                    f" {path.name}; keep one"
                )
            films[path.stem] = path
    return films


def _check_split(folder: Place, layout: Layout, split: str, present: list[str]) -> None:
    if split not in get_args(Split):
        raise InputError(f"split must be one of {', '.join(get_args(Split))}; got {split!r}")
    if not present:
        folders = ", ".join(layout.images.values())
        raise InputError(
            f"data folder {folder} has no films in {folders}; the file name of a film must end in"
            f" {', '.join(IMAGE_SUFFIXES)}"
        )
    if split == "all" or split in present:
        return
    if split not in layout.images:
        raise InputError(f"split {split!r}: {layout.name} in {folder} has no splits; use 'all'")
    raise InputError(
        f"split {split!r}: {folder / layout.images[split]} is missing or has no films;"
        f" available splits: {', '.join([*present, 'all'])}"
    )


def _check_distinct(films: Mapping[str, Mapping[str, Place]]) -> None:
    seen: dict[str, str] = {}
    for split, paths in films.items():
        for film in paths:
            if film in seen:
                raise InputError(
                    f"film {film!r} occurs in the splits {seen[film]!r} and {split!r}:"
                    f" {films[seen[film]][film]} and {paths[film]}; keep one"
                )
            seen[film] = split


def _reader_folders(
    folder: Place, layout: Layout, split: str, data: DataConfig
) -> dict[str, dict[str, Place]]:
    """Return annotation files by reader and film, for the readers whose folder exists."""
    paths = {reader: folder / path for reader, path in layout.annotations[split].items()}
    present = [reader for reader, path in paths.items() if path.is_dir()]
    if data.reader not in (MEAN, ALL, *paths):
        raise InputError(
            f"data.reader={data.reader}: the readers of {layout.name} are {', '.join(paths)}; give"
            f" one of them, {MEAN} or {ALL}"
        )
    needed = list(paths) if data.reader in (MEAN, ALL) else [data.reader]
    for reader in needed:
        if reader not in present:
            cure = (
                f"set data.reader={present[0]} to use the marks of the {present[0]} reader"
                if present
                else ("put the annotation files there")
            )
            raise InputError(
                f"data.reader={data.reader} needs the marks of the {reader} reader in"
                f" {paths[reader]}, which is missing; {cure}"
            )
    suffix = format_named(layout.format).suffix
    return {
        reader: {path.stem: path for path in _visible_files(paths[reader], (suffix,))}
        for reader in present
    }


def _read_all(
    films: Sequence[str],
    readers: Mapping[str, Mapping[str, Place]],
    layout: Layout,
    data: DataConfig,
) -> list[MarkedFilm | InputError]:
    """Return each film with the marks of all readers, or the fault in its files."""
    annotation_format = format_named(layout.format)
    labels = Labels(landmark_set(data.landmarks), data.unknown_labels)

    def read(film: str) -> MarkedFilm | InputError:
        try:
            return _read(film, readers, annotation_format, labels)
        except InputError as fault:
            return fault

    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        return list(pool.map(read, films))


def _read(
    film: str,
    readers: Mapping[str, Mapping[str, Place]],
    annotation_format: Format,
    labels: Labels,
) -> MarkedFilm:
    parts: list[MarkedFilm] = []
    for reader, files in readers.items():
        if film in files:
            text = read_text(files[film], "annotation")
            parts += annotation_format.parse(text, str(files[film]), film, reader, labels)
    return merge_films(parts)[0]


def _common_spacing(
    folder: Place, layout: Layout, spacings_mm: Mapping[str, float] | None, data: DataConfig
) -> float | None:
    """Return the spacing of all films, or None if `spacing.csv` contains their spacings."""
    if data.spacing_mm is not None:
        return data.spacing_mm
    if spacings_mm is not None:
        return None
    if layout.spacing_mm is None:
        raise InputError(
            f"{layout.name} in {folder} has no known spacing; set data.spacing_mm, or put"
            f" {SPACING_FILE} with columns film,spacing_mm into this folder"
        )
    return layout.spacing_mm


def _spacing(film: str, folder: Place, spacings_mm: Mapping[str, float]) -> float:
    if film not in spacings_mm:
        raise InputError(
            f"{folder / SPACING_FILE} has no row for film {film!r}; add it, or set"
            " data.spacing_mm for all films"
        )
    return spacings_mm[film]
