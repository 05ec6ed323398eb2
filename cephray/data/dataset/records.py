"""Reading of data sets: from a folder with films and annotation files to `Record`s.

It decodes no films. Whether landmarks lie on their film is therefore checked in `films.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cephray.config import DataConfig
from cephray.data.dataset.annotations import SPACING_FILE, read_annotation, read_spacings
from cephray.data.dataset.layouts import LAYOUTS, Layout, match_layout
from cephray.data.dataset.names import first_few, natural_key
from cephray.data.dataset.pairing import OnFault, check_pairs, refuse
from cephray.errors import InputError
from cephray.landmarks import landmark_set
from cephray.storage import READS_AT_ONCE, Place, list_files, place

Split = Literal["train", "test1", "test2", "all"]

# The marks [K, 2] of each reader, and the class labels or None.
Marks = tuple[dict[str, NDArray[np.float64]], tuple[int, ...] | None]

IMAGE_SUFFIXES = (".bmp", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, eq=False)
class Record:
    """A film of a data set, with its image file and landmarks.

    Args:
        film: name of the film, which is the stem of its file name, such as "001".
        image_path: path of the image file.
        landmarks_px: [K, 2], true landmarks, pixels; NaN where missing.
        spacing_mm: millimetres per pixel.
        split: "train", "test1" or "test2"; "all" if the data set has no splits.
        readers_px: marks [K, 2] by reader, pixels; NaN where missing.
        class_labels: classes of ANB, SNB, SNA, ODI, APDI, FHI, FMA and MW, as in the ISBI data
            set, or None.
    """

    film: str
    image_path: Place
    landmarks_px: NDArray[np.float64]
    spacing_mm: float
    split: str
    readers_px: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    class_labels: tuple[int, ...] | None = None


def read_dataset(
    folder: Place, split: Split, data: DataConfig, on_fault: OnFault = refuse
) -> list[Record]:
    """Read one split of a data set in any known layout.

    A film without annotation is a fault. An annotation without film is a fault too, unless its
    film may belong to a split whose films are absent. For example, a download may lack the films
    of Test2 but contain all annotations.

    Args:
        folder: folder that contains the folders of a layout, and possibly `spacing.csv`; local, or
            in an object store.
        split: split to read. "all" reads every film in the folder.
        data: landmark set, reader and spacing. `data.spacing_mm` takes precedence over
            `spacing.csv`, which takes precedence over the spacing of the layout.
        on_fault: called with the faults of single films. If it does not raise, these films are
            left out.

    Returns:
        One record for each film, in natural order of the film names.

    Raises:
        InputError: If the folder cannot be used, or `on_fault` raises. The message is one line.
    """
    folder = place(folder)
    layout = _recognise(folder)
    films = _films_of(folder, layout)
    present = [name for name, paths in films.items() if paths]
    _check_split(folder, layout, split, present)
    _check_distinct(films)

    spacings_mm = read_spacings(folder)
    common_mm = _common_spacing(folder, layout, spacings_mm, data)
    records = []
    for name in present if split == "all" else [split]:
        readers = _reader_folders(folder, layout, name, data)
        needed = list(readers) if data.reader == "mean" else [data.reader]
        unmarked = check_pairs(folder, layout, name, films, readers, needed, on_fault)
        marked = [film for film in films[name] if film not in unmarked]
        for film, found in zip(marked, _read_all_marks(marked, readers, data), strict=True):
            try:
                if isinstance(found, InputError):
                    raise found
                spacing_mm = common_mm or _spacing(film, folder, spacings_mm or {})
            except InputError as fault:
                on_fault([film], fault)
                continue
            marks, labels = found
            records.append(
                Record(
                    film=film,
                    image_path=films[name][film],
                    landmarks_px=_truth(marks, data.reader),
                    spacing_mm=spacing_mm,
                    split=name,
                    readers_px=marks,
                    class_labels=labels,
                )
            )
    return sorted(records, key=lambda record: natural_key(record.film))


def list_films(folder: Place) -> dict[str, dict[str, Place]]:
    """List the films of a data set, with or without annotations.

    Returns:
        Image file by split and film. Splits without films are empty.

    Raises:
        InputError: If the folder has no known layout, or a film occurs twice in a split.
    """
    return _films_of(folder, _recognise(folder))


def _recognise(folder: Place) -> Layout:
    known = "; ".join(layout.name for layout in LAYOUTS)
    if not folder.exists():
        raise InputError(f"data folder {folder} does not exist")
    if not folder.is_dir():
        raise InputError(f"data folder {folder} is a file; give a folder with a layout: {known}")
    layout = match_layout(folder)
    if layout is not None:
        return layout
    entries = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    for entry in entries:
        if (folder / entry).is_dir() and match_layout(folder / entry) is not None:
            raise InputError(f"data folder {folder} is one level too high; give {folder / entry}")
    found = first_few(entries) if entries else "nothing"
    raise InputError(
        f"data folder {folder} has no known layout: found {found}; known layouts: {known}"
    )


def _visible_files(folder: Place, suffixes: tuple[str, ...]) -> Iterator[Place]:
    for path in list_files(folder):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            yield path


def _films_of(folder: Place, layout: Layout) -> dict[str, dict[str, Place]]:
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
    needed = list(paths) if data.reader == "mean" else [data.reader]
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
    return {
        reader: {path.stem: path for path in _visible_files(paths[reader], (".txt",))}
        for reader in present
    }


def _read_all_marks(
    films: Sequence[str], readers: Mapping[str, Mapping[str, Place]], data: DataConfig
) -> list[Marks | InputError]:
    """Return the marks of each film, or the fault in its files."""

    def read(film: str) -> Marks | InputError:
        try:
            return _read_marks(film, readers, data)
        except InputError as fault:
            return fault

    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        return list(pool.map(read, films))


def _read_marks(film: str, readers: Mapping[str, Mapping[str, Place]], data: DataConfig) -> Marks:
    count = len(landmark_set(data.landmarks))
    marks = {}
    labels: tuple[int, ...] | None = None
    for reader, files in readers.items():
        if film in files:
            marks[reader], found = read_annotation(files[film], count)
            labels = labels or found
    return marks, labels


def _truth(marks: Mapping[str, NDArray[np.float64]], reader: str) -> NDArray[np.float64]:
    """Return the reader's marks, or the mean over the readers that marked a landmark."""
    if reader != "mean":
        return marks[reader]
    every = np.stack(list(marks.values()))  # [readers, K, 2]
    known = ~np.isnan(every)
    total = np.where(known, every, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


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
