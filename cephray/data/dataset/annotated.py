"""Data sets without a known layout: films, and annotation files whose format is recognised.

The annotations are a file; or the files in a folder; or those in its folder `annotations`, which
may have a sub-folder for each reader. The films lie in the same folder or in its sub-folders.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from cephray.data.convert import (
    FORMATS,
    Format,
    Labels,
    MarkedFilm,
    merge_films,
    recognise_format,
)
from cephray.data.convert.values import parse_object
from cephray.data.dataset.names import first_few
from cephray.data.dataset.pairing import OnFault, refuse
from cephray.data.dataset.spacings import SPACING_FILE
from cephray.errors import InputError
from cephray.storage import READS_AT_ONCE, Place, list_files, read_text, walk_files

READER = "reader"
"""Name of the reader where the annotations do not give it."""

ANNOTATIONS = "annotations"
_TABLES = (SPACING_FILE, "measurements.csv")  # are no annotations
_TABLE_OF_RESULTS = "landmarks.csv"
_SUFFIXES = tuple(dict.fromkeys(one.suffix for one in FORMATS))

_Candidate = tuple[str, str, Place]  # reader, film, file


@dataclass(frozen=True)
class AnnotationFile:
    """An annotation file.

    Args:
        reader: name of the reader, if the file does not give it.
        film: name of the film, if the file is of one film.
        path: path of the file.
        format: format of the file.
        content: text of the file.
    """

    reader: str
    film: str
    path: Place
    format: Format
    content: str


@dataclass(frozen=True)
class Annotated:
    """A folder of films with annotation files of one format.

    Args:
        folder: folder that contains the films, directly or in sub-folders.
        files: annotation files.
    """

    folder: Place
    files: tuple[AnnotationFile, ...]

    @property
    def format(self) -> Format:
        """The format of the annotation files."""
        return self.files[0].format


def find_annotations(source: Place, format: Format | None = None) -> Annotated | None:
    """Find the annotation files of a data set.

    Args:
        source: an annotation file, or the folder of a data set.
        format: format of the annotations. If None, it is recognised.

    Returns:
        The files, or None if there are none.

    Raises:
        InputError: If a file is damaged, or files have different formats.
    """
    if source.is_file():
        folder = source.parent.parent if source.parent.name == ANNOTATIONS else source.parent
        file = _read((READER, source.stem, source), format)
        return None if file is None else Annotated(folder, (file,))
    if not source.is_dir():
        return None
    inside = source / ANNOTATIONS
    paths = _of_readers(inside)
    paths = paths or [(READER, path.stem, path) for path in _candidates(inside)]
    paths = paths or [(READER, path.stem, path) for path in _beside_films(source)]
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        files = [file for file in pool.map(lambda one: _read(one, format), paths) if file]
    files = _without_table_of_results(files)
    formats = {file.format.name: file for file in files}
    if len(formats) > 1:
        named = "; ".join(f"{name} ({file.path.name})" for name, file in formats.items())
        raise InputError(
            f"{source} has annotations of several formats: {named}; give the file or the folder of"
            " one of them, or move the others away"
        )
    return Annotated(source, tuple(files)) if files else None


def read_marks(found: Annotated, labels: Labels, on_fault: OnFault = refuse) -> list[MarkedFilm]:
    """Read the marks of all films.

    Args:
        found: annotation files.
        labels: labels of the landmark set.
        on_fault: called with the fault of a file. If it does not raise, the file is left out.

    Returns:
        Each film with the marks of all readers. Its image is given relative to the data set's
        folder if it lies there.

    Raises:
        InputError: If `on_fault` raises, or a film is marked twice by one reader.
    """
    parts: list[MarkedFilm] = []
    for file in found.files:
        name = str(file.path)
        try:
            films = file.format.parse(file.content, name, file.film, file.reader, labels)
        except InputError as fault:
            on_fault([file.film] if file.format.is_per_film else [], fault)
            continue
        parts += [_relative(one, file.path, found.folder) for one in films]
    return merge_films(parts)


class Images:
    """The image files in a folder and its sub-folders, found by the names in annotations.

    Args:
        folder: folder to search.
        suffixes: suffixes of image files.
    """

    def __init__(self, folder: Place, suffixes: Sequence[str]) -> None:
        self._folder = folder
        self._files: dict[str, Place] = {}
        self._by_name: dict[str, list[str]] = {}
        for name, path in walk_files(folder):
            pure = PurePosixPath(name)
            if pure.suffix.lower() in suffixes:
                self._files[name] = path
                for key in {pure.name, pure.stem, pure.with_suffix("").as_posix()}:
                    self._by_name.setdefault(key, []).append(name)

    def of(self, film: MarkedFilm) -> Place:
        """Return the image of a film.

        Raises:
            InputError: If there is none, or there are several.
        """
        if film.image is not None and film.image in self._files:
            return self._files[film.image]
        names: list[str] = []
        if film.image is not None:
            names = self._by_name.get(PurePosixPath(film.image).name, [])
        names = names or self._by_name.get(film.film, [])
        if not names:
            named = f" ({film.image})" if film.image else ""
            raise InputError(
                f"annotations without film in {self._folder}: {film.film}{named}; add the film, or"
                " remove its annotation"
            )
        if len(names) > 1:
            raise InputError(
                f"film {film.film!r} may be any of {first_few(names)} in {self._folder}; keep one,"
                " or name its path in the annotation"
            )
        return self._files[names[0]]


def _of_readers(folder: Place) -> list[_Candidate]:
    """Return the annotation files in the sub-folders of a folder, of which each has a reader."""
    if not folder.is_dir():
        return []
    found = []
    for name, path in walk_files(folder):
        reader, _, film = PurePosixPath(name).with_suffix("").as_posix().partition("/")
        if film and path.suffix.lower() in _SUFFIXES and path.name not in _TABLES:
            found.append((reader, film, path))
    return found


def _candidates(folder: Place) -> list[Place]:
    if not folder.is_dir():
        return []
    return [
        path
        for path in list_files(folder)
        if path.suffix.lower() in _SUFFIXES
        and path.name not in _TABLES
        and not path.name.startswith(".")
    ]


def _beside_films(folder: Place) -> list[Place]:
    """Return the annotation files beside films. A text file is one if a film has its name."""
    films = {path.stem for path in list_files(folder) if path.suffix.lower() not in _SUFFIXES}
    return [path for path in _candidates(folder) if path.suffix != ".txt" or path.stem in films]


def _read(candidate: _Candidate, format: Format | None) -> AnnotationFile | None:
    """Return an annotation file, or None if it is of no known format.

    Raises:
        InputError: If the file is damaged.
    """
    reader, film, path = candidate
    content = read_text(path, "annotation")
    known = format or recognise_format(path.suffix, content)
    if known is not None:
        return AnnotationFile(reader, film, path, known, content)
    if path.suffix.lower() == ".json":
        parse_object(content, str(path))  # says where the file is damaged
    return None


def _without_table_of_results(files: Iterable[AnnotationFile]) -> list[AnnotationFile]:
    """Leave out the table that `predict` writes beside the files of each film."""
    files = list(files)
    others = [file for file in files if file.path.name != _TABLE_OF_RESULTS]
    return others or files


def _relative(film: MarkedFilm, file: Place, folder: Place) -> MarkedFilm:
    """Give a film's image relative to the data set's folder, if it is given relative to the file.

    Args:
        film: film with the image as the annotation file gives it.
        file: annotation file.
        folder: folder of the data set.
    """
    if film.image is None:
        return film
    below = str(file.parent).removeprefix(str(folder)).lstrip("/")
    image = posixpath.normpath(posixpath.join(below, film.image))
    is_inside = not image.startswith("..") and not posixpath.isabs(image)
    exists = is_inside and (folder / image).is_file()
    return replace(film, image=image) if exists else film
