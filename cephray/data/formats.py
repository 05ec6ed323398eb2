"""Readers of data sets on disk: a folder of films and annotation files becomes Records.

It decodes no film, so that it cannot know whether a landmark lies on one: `films.py` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cephray.config import DataConfig
from cephray.data.annotations import SPACING_FILE, read_annotation, read_spacings
from cephray.data.layouts import LAYOUTS, Layout, match_layout
from cephray.errors import InputError
from cephray.landmarks import landmark_set

Split = Literal["train", "test1", "test2", "all"]

IMAGE_SUFFIXES = (".bmp", ".png", ".jpg", ".jpeg", ".tif", ".tiff")


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


def read_dataset(folder: Path, split: Split, data: DataConfig) -> list[Record]:
    """Read one split of a data set in any known layout.

    A film without annotation is an error. So is an annotation without film, unless a split that
    is absent or empty could hold it, by the order of the films' names: a download may lack the
    films of Test2 and still hold all annotations.

    Args:
        folder: holds the layout's folders, and perhaps `spacing.csv`.
        split: "all" is every film that is there.
        data: landmark set, reader and spacing. `data.spacing_mm` comes before `spacing.csv`,
            which comes before the layout's own spacing.

    Returns:
        One Record for each film, in natural order of the film names.

    Raises:
        InputError: the folder, a film list or an annotation file cannot be used; one line.
    """
    folder = Path(folder)
    layout = _recognise(folder)
    films = {name: _list_films(folder / path) for name, path in layout.images.items()}
    present = [name for name, paths in films.items() if paths]
    _check_split(folder, layout, split, present)
    _check_distinct(films)

    spacings_mm = read_spacings(folder)
    records = []
    for name in present if split == "all" else [split]:
        readers = _reader_folders(folder, layout, name, data)
        _check_pairs(folder, layout, name, films, readers, data)
        for film, image_path in films[name].items():
            marks, labels = _read_marks(film, readers, data)
            records.append(
                Record(
                    film=film,
                    image_path=image_path,
                    landmarks_px=_truth(marks, data.reader),
                    spacing_mm=_spacing(film, folder, layout, spacings_mm, data),
                    split=name,
                    readers_px=marks,
                    class_labels=labels,
                )
            )
    return sorted(records, key=lambda record: natural_key(record.film))


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """Sort key that puts "film9" before "film10"."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]


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
    found = _some(entries) if entries else "nothing"
    raise InputError(f"data folder {folder} has no known layout: found {found}; known: {known}")


def _visible_files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file():
            yield path


def _list_films(folder: Path) -> dict[str, Path]:
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


def _check_pairs(
    folder: Path,
    layout: Layout,
    split: str,
    films: Mapping[str, Mapping[str, Path]],
    readers: Mapping[str, Mapping[str, Path]],
    data: DataConfig,
) -> None:
    for reader, files in readers.items():
        annotations = layout.annotations[split][reader]
        if data.reader in ("mean", reader):
            lone_films = [film for film in films[split] if film not in files]
            if lone_films:
                raise InputError(
                    f"films without annotation in {folder / annotations}: {_some(lone_films)};"
                    " add their .txt files or remove the films"
                )
        sharing = [name for name, of in layout.annotations.items() if of[reader] == annotations]
        lone_files = [
            film
            for film in files
            if not any(film in films[name] for name in sharing)
            and not _may_be_of_absent_split(film, [films[name] for name in sharing])
        ]
        if lone_files:
            where = ", ".join(layout.images[name] for name in sharing)
            raise InputError(
                f"annotations in {folder / annotations} without film in {where}:"
                f" {_some(lone_files)}; add the films or remove the .txt files"
            )


def _may_be_of_absent_split(film: str, splits: Sequence[Mapping[str, Path]]) -> bool:
    """Tell whether a split that is not here could hold a film: the data set numbers them in turn.

    Args:
        film: its name.
        splits: the films of each split, in the order in which they are numbered.
    """
    key = natural_key(film)
    return any(
        not absent
        and all(natural_key(other) < key for split in splits[:place] for other in split)
        and all(natural_key(other) > key for split in splits[place + 1 :] for other in split)
        for place, absent in enumerate(splits)
    )


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


def _spacing(
    film: str,
    folder: Path,
    layout: Layout,
    spacings_mm: Mapping[str, float] | None,
    data: DataConfig,
) -> float:
    if data.spacing_mm is not None:
        return data.spacing_mm
    if spacings_mm is not None:
        if film not in spacings_mm:
            raise InputError(
                f"{folder / SPACING_FILE} has no row for film {film!r}; add it, or set"
                " data.spacing_mm for all films"
            )
        return spacings_mm[film]
    if layout.spacing_mm is None:
        raise InputError(
            f"{layout.name} in {folder} has no known spacing; set data.spacing_mm, or put"
            f" {SPACING_FILE} (film,spacing_mm) beside its folders"
        )
    return layout.spacing_mm


def _some(names: Iterable[str], limit: int = 5) -> str:
    names = sorted(names, key=natural_key)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
