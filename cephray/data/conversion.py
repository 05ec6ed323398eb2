"""Conversion of annotations from one format to another."""

from __future__ import annotations

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from PIL import Image, UnidentifiedImageError

from cephray.config import DataConfig
from cephray.data.convert import FORMATS, Format, Labels, MarkedFilm
from cephray.data.dataset import ALL, IMAGE_SUFFIXES, MEAN, SPACING_FILE, true_marks
from cephray.data.dataset.annotated import ANNOTATIONS, Images
from cephray.data.dataset.marks import Marks, read_all_marks
from cephray.data.dicom import DICOM_SUFFIXES
from cephray.data.films import read_film
from cephray.errors import InputError
from cephray.landmarks import landmark_set
from cephray.storage import Place, is_free, replace_text

IMAGES = "images"


@dataclass(frozen=True)
class Conversion:
    """What was converted.

    Args:
        format: name of the format that was read, or the name of the folder layout.
        films: number of films.
        readers: names of the readers whose marks were written.
        marks: number of marks.
    """

    format: str
    films: int
    readers: tuple[str, ...]
    marks: int


def convert_annotations(
    source: Place,
    output: Path,
    to: Format,
    data: DataConfig,
    split: str = "all",
    from_format: Format | None = None,
    copy_films: bool = False,
    on_film: Callable[[], None] = lambda: None,
) -> Conversion:
    """Convert the annotations of a data set.

    Of a format with a file for each film, the file of a film is `annotations/READER/FILM` in the
    output folder. The spacings are written to `spacing.csv` if the format does not contain them.

    Args:
        source: folder of the data set, or its annotation file.
        output: new or empty folder; or, if the format has one file for all films, a new file with
            its suffix.
        to: format to write.
        data: landmark set; reader whose marks are written, or `MEAN`, or `ALL`; spacing.
        split: split to read of a data set in a known folder layout.
        from_format: format to read. If None, it is recognised.
        copy_films: whether to copy the films to the folder `images` of the output folder.
        on_film: called for each film.

    Raises:
        InputError: If the source cannot be read, the format cannot hold it, or the output exists.
    """
    is_file = not to.is_per_film and output.suffix.lower() == to.suffix
    if is_file:
        _check_file(output, to, copy_films)
    else:
        _check_folder(output, to)
    labels = Labels(landmark_set(data.landmarks), data.unknown_labels)
    marks = read_all_marks(source, data, split, from_format)
    images = _images(marks)
    films = [_of_reader(film, data) for film in marks.films]
    with nullcontext(_make(output.parent)) if is_file else _draft(output) as folder:
        written = []
        for film in films:
            image = images.get(film.film)
            written.append(_with_image(film, image, folder, to, copy_films))
            on_film()
        if to.is_per_film:
            _write_each(written, labels, to, folder)
        else:
            file = folder / (output.name if is_file else f"{ANNOTATIONS}{to.suffix}")
            replace_text(file, to.render(written, labels))
        if not to.holds_spacing:
            _write_spacings(written, folder / SPACING_FILE)
    readers = tuple(dict.fromkeys(reader for film in written for reader in film.readers_px))
    count = sum(
        int((points == points).all(axis=-1).sum())
        for film in written
        for points in film.readers_px.values()
    )
    return Conversion(marks.format, len(written), readers, count)


def _check_file(output: Path, to: Format, copy_films: bool) -> None:
    if copy_films:
        raise InputError(f"output {output} is a file; to copy films, give a folder")
    if output.exists():
        raise InputError(f"output {output} exists already; give a new file")
    spacings = output.with_name(SPACING_FILE)
    if not to.holds_spacing and spacings.exists():
        raise InputError(f"{spacings} exists already; give an output in another folder")


def _check_folder(output: Path, to: Format) -> None:
    if output.suffix.lower() in {one.suffix for one in FORMATS}:
        kind = "a folder" if to.is_per_film else f"a folder or a {to.suffix} file"
        raise InputError(f"output {output}: {to.title} is written to {kind}")
    if not is_free(output):
        raise InputError(f"output folder {output} is not an empty folder; give a new one")


@contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, which becomes the output folder at the end.

    Args:
        folder: the output folder, which is empty or does not exist.
    """
    _make(folder.parent)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.absolute().parent))
    try:
        yield draft
        draft.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        draft.rename(folder.absolute())
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _make(folder: Path) -> Path:
    """Create a folder if it does not exist, and return it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output folder {folder} cannot be created ({error.strerror})") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"output folder {folder} cannot be written to; give another one")
    return folder


def _images(marks: Marks) -> Mapping[str, Place]:
    """Return the image of each film that has one. The films may lie elsewhere."""
    if marks.images is not None:
        return marks.images
    images = Images(marks.folder, (*IMAGE_SUFFIXES, *DICOM_SUFFIXES))
    found: dict[str, Place] = {}
    for film in marks.films:
        try:
            found[film.film] = images.of(film)
        except InputError:
            continue  # not needed
    return found


def _of_reader(film: MarkedFilm, data: DataConfig) -> MarkedFilm:
    """Return the film with the marks that were asked for, and with the spacing that was given."""
    film = replace(film, spacing_mm=data.spacing_mm or film.spacing_mm)
    if data.reader == ALL:
        return film
    if data.reader == MEAN:
        return replace(
            film,
            readers_px={MEAN: true_marks(film.readers_px, MEAN)},
            rulers_px={},
            radii_95_px={},
            doubtful={},
        )
    if data.reader not in film.readers_px:
        raise InputError(
            f"film {film.film!r} is not marked by reader {data.reader!r}, but by"
            f" {', '.join(film.readers_px)}"
        )
    return film.by(data.reader)


def _with_image(
    film: MarkedFilm, image: Place | None, folder: Path, to: Format, copy_films: bool
) -> MarkedFilm:
    """Return the film with its size, and with the path of its image relative to the output.

    If the format holds no paths, it is the file name of the image instead.
    """
    if image is None:
        if copy_films:
            raise InputError(f"film {film.film!r}: has no image that could be copied")
        return film
    name = f"{film.film}{image.suffix}"
    if copy_films:
        path = folder / IMAGES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image.read_bytes())
        name = f"{IMAGES}/{name}" if to.holds_path else name
    elif isinstance(image, Path) and to.holds_path:
        name = Path(os.path.relpath(image, folder)).as_posix()
    return replace(film, image=name, size_px=film.size_px or _size_of(image))


def _size_of(image: Place) -> tuple[int, int]:
    if image.suffix.lower() not in DICOM_SUFFIXES:
        try:
            with Image.open(io.BytesIO(image.read_bytes())) as opened:
                return opened.size
        except (UnidentifiedImageError, OSError):
            pass  # read_film says what is wrong with it
    height, width = read_film(image).image.shape
    return width, height


def _write_each(films: Sequence[MarkedFilm], labels: Labels, to: Format, output: Path) -> None:
    for film in films:
        for reader in film.readers_px:
            if "/" in reader or reader in ("", ".", ".."):
                raise InputError(f"reader {reader!r} cannot be the name of a folder")
            file = output / ANNOTATIONS / reader / f"{film.film}{to.suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            part = film.by(reader)
            if part.image is not None:
                up = os.path.relpath(output / part.image, file.parent)
                part = replace(part, image=PurePosixPath(Path(up)).as_posix())
            file.write_text(to.render([part], labels), encoding="utf-8")


def _write_spacings(films: Sequence[MarkedFilm], path: Path) -> None:
    spacings_mm: Mapping[str, float] = {
        film.film: film.spacing_mm for film in films if film.spacing_mm is not None
    }
    if not spacings_mm:
        return
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["film", "spacing_mm"])
        table.writerows(spacings_mm.items())
