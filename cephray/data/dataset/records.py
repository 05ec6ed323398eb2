"""Readers of data sets on disk: a folder of films and annotation files becomes Records.

It decodes no film, so that it cannot know whether a landmark lies on one: `films.py` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cephray.config import DataConfig
from cephray.data.dataset.annotations import SPACING_FILE, read_annotation, read_spacings
from cephray.data.dataset.layouts import LAYOUTS, Layout, match_layout
from cephray.data.dataset.names import natural_key, some
from cephray.data.dataset.pairing import OnFault, check_pairs, refuse
from cephray.errors import InputError
from cephray.landmarks import landmark_set

Split = Literal["train", "test1", "test2", "all"]

IMAGE_SUFFIXES = (".bmp", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, eq=False)
class Record:
    """One film of a data set: where its image lies, and where its landmarks are."""

    film: str  # file stem, such as "001"
    image_path: Path
    landmarks_px: NDArray[np.float64]  # [K, 2], the truth; NaN where missing
    spacing_mm: float  # millimetres per pixel
    split: str  # "train", "test1", "test2"; "all" where the data set has no splits
    readers_px: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)  # name: [K, 2]
    class_labels: tuple[int, ...] | None = None  # ISBI: ANB, SNB, SNA, ODI, APDI, FHI, FMA, MW


def read_dataset(
    folder: Path, split: Split, data: DataConfig, on_fault: OnFault = refuse
) -> list[Record]:
    """Read one split of a data set in any known layout.

    A film without annotation is an error. So is an annotation without film, unless a split that
    is absent or empty could hold it, by the order of the films' names: a download may lack the
    films of Test2 and still hold all annotations.

    Args:
        folder: holds the layout's folders, and perhaps `spacing.csv`.
        split: "all" is every film that is there.
        data: landmark set, reader and spacing. `data.spacing_mm` comes before `spacing.csv`,
            which comes before the layout's own spacing.
        on_fault: takes what is wrong with single films; those are left out if it does not raise.

    Returns:
        One Record for each film, in natural order of the film names.

    Raises:
        InputError: the folder, a film list or an annotation file cannot be used; one line.
    """
    folder = Path(folder)
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
        for film in films[name]:
            if film in unmarked:
                continue
            try:
                marks, labels = _read_marks(film, readers, data)
                spacing_mm = common_mm or _spacing(film, folder, spacings_mm or {})
            except InputError as fault:
                on_fault([film], fault)
                continue
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


def list_films(folder: Path) -> dict[str, dict[str, Path]]:
    """List the films of a data set, whatever is said of them.

    Returns:
        split: film: image file; a split without films is empty.

    Raises:
        InputError: the folder has no known layout, or a film occurs twice in one of its folders.
    """
    return _films_of(folder, _recognise(folder))


def _recognise(folder: Path) -> Layout:
    known = "; ".join(layout.name for layout in LAYOUTS)
    if not folder.exists():
        raise InputError(f"data folder {folder} does not exist")
    if not folder.is_dir():
        raise InputError(f"data folder {folder} is a file; give the folder that holds: {known}")
    layout = match_layout(folder)
    if layout is not None:
        return layout
    entries = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    for entry in entries:
        if (folder / entry).is_dir() and match_layout(folder / entry) is not None:
            raise InputError(f"data folder {folder} is one level too high; give {folder / entry}")
    found = some(entries) if entries else "nothing"
    raise InputError(f"data folder {folder} has no known layout: found {found}; known: {known}")


def _visible_files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file():
            yield path


def _films_of(folder: Path, layout: Layout) -> dict[str, dict[str, Path]]:
    return {name: _films_in(folder / path) for name, path in layout.images.items()}


def _films_in(folder: Path) -> dict[str, Path]:
    films: dict[str, Path] = {}
    if folder.is_dir():
        for path in _visible_files(folder, IMAGE_SUFFIXES):
            if path.stem in films:
                raise InputError(
                    f"film {path.stem!r} occurs twice in {folder}: {films[path.stem].name} and"
                    f" {path.name}; keep one"
                )
            films[path.stem] = path
    return films


def _check_split(folder: Path, layout: Layout, split: str, present: list[str]) -> None:
    if split not in get_args(Split):
        raise InputError(f"split must be one of {', '.join(get_args(Split))}; got {split!r}")
    if not present:
        folders = ", ".join(layout.images.values())
        raise InputError(
            f"data folder {folder} holds no films in {folders}; a film's file name ends in"
            f" {', '.join(IMAGE_SUFFIXES)}"
        )
    if split == "all" or split in present:
        return
    if split not in layout.images:
        raise InputError(f"split {split!r}: {layout.name} in {folder} has no splits; use 'all'")
    raise InputError(
        f"split {split!r}: {folder / layout.images[split]} is missing or holds no films;"
        f" splits there: {', '.join([*present, 'all'])}"
    )


def _check_distinct(films: Mapping[str, Mapping[str, Path]]) -> None:
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
    folder: Path, layout: Layout, split: str, data: DataConfig
) -> dict[str, dict[str, Path]]:
    """Return reader: film: annotation file, for the readers whose folder is there."""
    paths = {reader: folder / path for reader, path in layout.annotations[split].items()}
    there = [reader for reader, path in paths.items() if path.is_dir()]
    needed = list(paths) if data.reader == "mean" else [data.reader]
    for reader in needed:
        if reader not in there:
            cure = (
                f"set data.reader={there[0]} to use the {there[0]}'s marks"
                if there
                else ("put the annotation files there")
            )
            raise InputError(
                f"data.reader={data.reader} needs the {reader}'s marks in {paths[reader]},"
                f" which is missing; {cure}"
            )
    return {
        reader: {path.stem: path for path in _visible_files(paths[reader], (".txt",))}
        for reader in there
    }


def _read_marks(
    film: str, readers: Mapping[str, Mapping[str, Path]], data: DataConfig
) -> tuple[dict[str, NDArray[np.float64]], tuple[int, ...] | None]:
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
    folder: Path, layout: Layout, spacings_mm: Mapping[str, float] | None, data: DataConfig
) -> float | None:
    """Return the spacing of all films, or None if `spacing.csv` has that of each."""
    if data.spacing_mm is not None:
        return data.spacing_mm
    if spacings_mm is not None:
        return None
    if layout.spacing_mm is None:
        raise InputError(
            f"{layout.name} in {folder} has no known spacing; set data.spacing_mm, or put"
            f" {SPACING_FILE} (film,spacing_mm) beside its folders"
        )
    return layout.spacing_mm


def _spacing(film: str, folder: Path, spacings_mm: Mapping[str, float]) -> float:
    if film not in spacings_mm:
        raise InputError(
            f"{folder / SPACING_FILE} has no row for film {film!r}; add it, or set"
            " data.spacing_mm for all films"
        )
    return spacings_mm[film]
