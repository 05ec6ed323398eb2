"""The search for films: files and folders become a list of films with unique names.

It opens files of unknown kind only, for their first bytes, and decodes none.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import count
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cephray.data.dicom import is_dicom
from cephray.data.films import FILM_SUFFIXES
from cephray.errors import InputError

LANDMARK_TABLE, MEASUREMENT_TABLE = "landmarks.csv", "measurements.csv"
"""Tables of all films, in the folder of the results."""

RESULT_SUFFIXES = (".json", ".png")
"""Files that each film's results have, after the film's name."""

_INDEX_OF_DISC = "DICOMDIR"  # a DICOM file of every disc, about the others


class FilmFile(NamedTuple):
    """A film's file, and the name that its results have.

    The name of a film in a folder is its path there, so that films of the same name in different
    sub-folders stay apart; `/` separates, and the suffix is left out. Films that would have the
    same name, capitals aside, keep their suffixes: `same.png` and `same.jpg`. If that is not
    enough, they have the name of their folder in front, or a number behind.
    """

    name: str
    path: Path


def find_films(
    paths: Sequence[Path],
    leave_out: Path | None = None,
    on_other: Callable[[Path], None] = lambda path: None,
) -> list[FilmFile]:
    """List the films among files and folders, in the order given, folders with all below by name.

    In a folder a film is a file of a known suffix, whatever it holds, or a DICOM file of any
    name. Hidden files and folders are none. A film that is named twice counts once.

    Args:
        paths: files and folders.
        leave_out: a folder that is not looked into: earlier results are no films.
        on_other: called with each visible file of a folder that is not a film.

    Raises:
        InputError: a path does not exist, or a folder holds no film or cannot be read.
    """
    films: list[FilmFile] = []
    for path in paths:
        if path.is_dir():
            found = []
            for file in _walk(path, leave_out):
                if _looks_like_film(file):
                    found.append(FilmFile(file.relative_to(path).as_posix(), file))
                else:
                    on_other(file)
            if not found:
                raise InputError(
                    f"{path}: no film in this folder or below; known kinds:"
                    f" {', '.join(FILM_SUFFIXES)}"
                )
            films += found
        elif path.exists():
            films.append(FilmFile(path.name, path))
        else:
            raise InputError(f"{path}: no such film or folder")
    once = list({film.path.resolve(): film for film in reversed(films)}.values())[::-1]
    return _with_own_names(once)


def _with_own_names(files: Sequence[FilmFile]) -> list[FilmFile]:
    """Give each film a unique name, whose result files overwrite no others.

    Names that differ only by upper and lower case, or by how Unicode writes an accent, are the
    same: some file systems keep one file of the two.

    Args:
        files: the films; their names have suffixes.
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
    taken_files = {LANDMARK_TABLE, MEASUREMENT_TABLE}  # keys of names, as are the folders
    taken_folders: set[str] = set()
    own = []
    for name, (_, path) in zip(names, files, strict=True):
        free = _free_name(name, taken_files, taken_folders)
        taken_files |= _result_keys(free)
        taken_folders |= {_key(str(folder)) for folder in PurePosixPath(free).parents}
        own.append(FilmFile(free, path))
    return own


def _in_its_folder(path: Path, name: str) -> str:
    """Return a name with the film's folder in front, so that results stay in the output."""
    folder = Path(os.path.abspath(path)).parent.name
    return f"{folder}/{name}" if folder else name


def _free_name(name: str, taken_files: AbstractSet[str], taken_folders: AbstractSet[str]) -> str:
    """Return a name, numbered if a folder of it is a file already, or a result file is taken."""
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
    """Return what is equal for names that a file system may take for one."""
    return unicodedata.normalize("NFC", name).casefold()


def _walk(folder: Path, leave_out: Path | None) -> Iterator[Path]:
    """Yield the files below a folder, each folder's own first, by name."""

    def refuse(error: OSError) -> None:
        raise InputError(f"folder {error.filename} cannot be read ({error.strerror})") from None

    out = leave_out.resolve() if leave_out is not None else None
    for here, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and Path(here, name).resolve() != out
        )
        yield from (Path(here, name) for name in sorted(files) if not name.startswith("."))


def _looks_like_film(path: Path) -> bool:
    if path.suffix.lower() in FILM_SUFFIXES:
        return True
    if path.name == _INDEX_OF_DISC or not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            return is_dicom(stream.read(132))
    except OSError:
        return False


def _without_suffix(path: Path) -> str:
    """Return a name without a film's suffix; `1.2.840.7` is a DICOM file's whole name."""
    known = path.suffix.lower() in FILM_SUFFIXES
    return (path.with_suffix("") if known else path).as_posix()
