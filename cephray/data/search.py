"""Which films are meant: files and folders become a list of films, each with a name of its own.

It opens files of unknown kind only, for their first bytes, and decodes none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cephray.data.dicom import is_dicom
from cephray.data.films import FILM_SUFFIXES
from cephray.errors import InputError

_INDEX_OF_DISC = "DICOMDIR"  # a DICOM file of every disc, about the others


class FilmFile(NamedTuple):
    """A film's file, and the name that its results have.

    The name of a film in a folder is its path there, so that films of the same name in different
    sub-folders stay apart; `/` separates, and the suffix is left out.
    """

    name: str
    path: Path


def find_films(paths: Sequence[Path], leave_out: Path | None = None) -> list[FilmFile]:
    """List the films among files and folders, in the order given, folders with all below by name.

    In a folder a film is a file of a known suffix, whatever it holds, or a DICOM file of any
    name. Hidden files and folders are none. A film that is named twice counts once.

    Args:
        paths: files and folders.
        leave_out: a folder that is not looked into: earlier results are no films.

    Raises:
        InputError: a path does not exist, a folder holds no film or cannot be read, or two films
            would have one name.
    """
    films: list[FilmFile] = []
    for path in paths:
        if path.is_dir():
            found = [
                FilmFile(_without_suffix(file.relative_to(path)), file)
                for file in _walk(path, leave_out)
                if _looks_like_film(file)
            ]
            if not found:
                raise InputError(
                    f"{path}: no film in this folder or below; known kinds:"
                    f" {', '.join(FILM_SUFFIXES)}"
                )
            films += found
        elif path.exists():
            films.append(FilmFile(_without_suffix(Path(path.name)), path))
        else:
            raise InputError(f"{path}: no such film or folder")
    once = list({film.path.resolve(): film for film in reversed(films)}.values())[::-1]
    by_name: dict[str, Path] = {}
    for name, file in once:
        other = by_name.setdefault(name, file)
        if other is not file:
            raise InputError(
                f"{file} and {other} would write the same results; rename one, or give the folder"
                " that holds both"
            )
    return once


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
