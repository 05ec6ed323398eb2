"""The search for films in files and folders, local or remote, and the choice of unique names.

Films are recognised by their suffix, or as DICOM by their first bytes. No film is decoded.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import count
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple

from cephray.data.dicom import is_dicom
from cephray.data.films import FILM_SUFFIXES
from cephray.errors import InputError
from cephray.storage import Place, RemotePath, walk_files

LANDMARK_TABLE, MEASUREMENT_TABLE = "landmarks.csv", "measurements.csv"
"""Files in the output folder with the results of all films."""

RESULT_SUFFIXES = (".json", ".png")
"""Suffixes of the result files of one film. They follow the film's name."""

_DICOM_START = 132  # bytes, in which a DICOM file tells what it is
_INDEX_OF_DISC = "DICOMDIR"  # lists the DICOM files on a disc; it is itself a DICOM file


class FilmFile(NamedTuple):
    """A film's file, and its name, which its result files have.

    The name of a film in a searched folder is its path relative to this folder, with `/` as
    separator and without the suffix. If films would have the same name, ignoring upper and lower
    case, the suffix is kept, as in `same.png` and `same.jpg`. If this is not sufficient, the name
    of the parent folder is put in front, or a number is added.
    """

    name: str
    path: Place


def find_films(
    paths: Sequence[Place],
    leave_out: Place | None = None,
    on_other: Callable[[Place], None] = lambda path: None,
) -> list[FilmFile]:
    """List the films in files and folders.

    A file that is given itself is always a film. In folders and their sub-folders, a film is a
    file with a known suffix, or a DICOM file with any name. Hidden files and folders are ignored.

    Args:
        paths: files and folders, local or in an object store.
        leave_out: folder that is not searched, for example that of earlier results.
        on_other: called with each file in a folder that is neither a film nor hidden.

    Returns:
        The films, each once, in the order of `paths`. The films in a folder are sorted by name.

    Raises:
        InputError: If a path does not exist, or a folder contains no film or cannot be read.
    """
    films: list[FilmFile] = []
    for path in paths:
        if path.is_dir():
            found = []
            for name, file in walk_files(path, leave_out):
                if _looks_like_film(file):
                    found.append(FilmFile(name, file))
                else:
                    on_other(file)
            if not found:
                raise InputError(
                    f"{path}: no film in this folder or its sub-folders; known formats:"
                    f" {', '.join(FILM_SUFFIXES)}"
                )
            films += found
        elif path.exists():
            films.append(FilmFile(path.name, path))
        else:
            raise InputError(f"{path}: there is no such film or folder")
    once = list({film.path.resolve(): film for film in reversed(films)}.values())[::-1]
    return _with_unique_names(once)


def _with_unique_names(files: Sequence[FilmFile]) -> list[FilmFile]:
    """Give each film a unique name, so that no result file overwrites another.

    Names are treated as equal if they differ only in upper and lower case or in the Unicode form
    of accents, since some file systems do not distinguish them.

    Args:
        files: films, named with their suffixes.
    """
    choices = [
        (
            _without_suffix(Path(name)),
            name,
            _in_its_folder(path, _without_suffix(Path(name))),
            _in_its_folder(path, name),
        )
        for name, path in files
    ]
    names = [choice[0] for choice in choices]
    for level in range(1, len(choices[0]) if choices else 1):
        counts = Counter(_key(name) for name in names)
        names = [
            choice[level] if counts[_key(name)] > 1 else name
            for name, choice in zip(names, choices, strict=True)
        ]
    taken_files = {LANDMARK_TABLE, MEASUREMENT_TABLE}  # values of `_key`
    taken_folders: set[str] = set()  # likewise
    unique = []
    for name, (_, path) in zip(names, files, strict=True):
        free = _free_name(name, taken_files, taken_folders)
        taken_files |= _result_keys(free)
        taken_folders |= {_key(str(folder)) for folder in PurePosixPath(free).parents}
        unique.append(FilmFile(free, path))
    return unique


def _in_its_folder(path: Place, name: str) -> str:
    """Put the name of the film's folder in front.

    `..` is resolved first, so that results stay inside the output folder.
    """
    whole = Path(os.path.abspath(path)) if isinstance(path, Path) else path
    folder = whole.parent.name
    return f"{folder}/{name}" if folder else name


def _free_name(name: str, taken_files: AbstractSet[str], taken_folders: AbstractSet[str]) -> str:
    """Return the name, with numbers added where a folder or result file of it is taken."""
    *folders, last = name.split("/")
    above = ""
    for folder in folders:
        above = (
            next(one for one in _numbered(above + folder) if _key(one) not in taken_files) + "/"
        )
    return next(
        one
        for one in _numbered(above + last)
        if _result_keys(one).isdisjoint(taken_files)
        and _result_keys(one).isdisjoint(taken_folders)
    )


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}-{number}" for number in count(2))


def _result_keys(name: str) -> set[str]:
    return {_key(f"{name}{suffix}") for suffix in RESULT_SUFFIXES}


def _key(name: str) -> str:
    """Return a key that is equal for names that some file systems do not distinguish."""
    return unicodedata.normalize("NFC", name).casefold()


def _looks_like_film(path: Place) -> bool:
    if path.suffix.lower() in FILM_SUFFIXES:
        return True
    if path.name == _INDEX_OF_DISC:
        return False
    if isinstance(path, RemotePath):
        return is_dicom(path.read_bytes(_DICOM_START))
    if not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            return is_dicom(stream.read(_DICOM_START))
    except OSError:
        return False


def _without_suffix(path: PurePath) -> str:
    """Return a name without the suffix of a film. Other names, such as `1.2.840.7`, are kept."""
    known = path.suffix.lower() in FILM_SUFFIXES
    return (path.with_suffix("") if known else path).as_posix()
