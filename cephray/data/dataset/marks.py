"""The marks of a data set without its films: from a known folder layout, or from annotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cephray.config import DataConfig
from cephray.data.convert import FORMATS, Format, Labels, MarkedFilm
from cephray.data.dataset.annotated import find_annotations, read_marks
from cephray.data.dataset.in_layout import read_layout
from cephray.data.dataset.layouts import match_layout
from cephray.data.dataset.pairing import refuse
from cephray.data.dataset.spacings import film_spacing, read_spacings
from cephray.errors import InputError
from cephray.landmarks import landmark_set
from cephray.storage import Place


@dataclass(frozen=True, eq=False)
class Marks:
    """Marks of films.

    Args:
        format: name of the folder layout, or title of the format.
        films: films with the marks of all readers.
        folder: folder of the data set, where the films may lie.
        images: image by film, or None if it is to be looked for in the folder.
    """

    format: str
    films: list[MarkedFilm]
    folder: Place
    images: Mapping[str, Place] | None


def read_all_marks(
    source: Place, data: DataConfig, split: str = "all", format: Format | None = None
) -> Marks:
    """Read the marks of a data set; the films themselves are not read.

    Args:
        source: folder of the data set, or its annotation file.
        data: landmark set, what to do with unknown labels, and the spacing, which precedes that of
            the data set.
        split: split to read of a data set in a known folder layout.
        format: format of the annotations. If None, it is recognised, and so are folder layouts.

    Raises:
        InputError: If the source does not exist, has no annotations, or cannot be read.
    """
    layout = match_layout(source) if source.is_dir() and format is None else None
    if layout is not None:
        records = read_layout(source, layout, split, data, refuse)
        films = [
            MarkedFilm(
                record.film,
                record.readers_px,
                spacing_mm=record.spacing_mm,
                class_labels=record.class_labels,
            )
            for record in records
        ]
        images = {record.film: record.image_path for record in records}
        return Marks(layout.name, films, source, images)
    if not source.exists():
        raise InputError(f"{source} does not exist")
    found = find_annotations(source, format)
    if found is None:
        known = ", ".join(one.name for one in FORMATS)
        raise InputError(f"{source}: no annotations of a known format were found ({known})")
    spacings_mm = read_spacings(found.folder) or {}
    labels = Labels(landmark_set(data.landmarks), data.unknown_labels)
    films = [
        replace(film, spacing_mm=film_spacing(film, spacings_mm, data))
        for film in read_marks(found, labels)
    ]
    return Marks(found.format.title, films, found.folder, None)
