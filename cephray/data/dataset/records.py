"""Reading of data sets: from a folder with films and annotation files to `Record`s.

It decodes no films. Whether landmarks lie on their film is therefore checked in `films.py`.
"""

from __future__ import annotations

from cephray.config import DataConfig
from cephray.data.convert import FORMATS
from cephray.data.dataset.annotated import Annotated, find_annotations
from cephray.data.dataset.in_layout import films_of, read_layout
from cephray.data.dataset.layouts import LAYOUTS, Layout, match_layout
from cephray.data.dataset.names import first_few, natural_key
from cephray.data.dataset.pairing import OnFault, refuse
from cephray.data.dataset.record import Record, Split
from cephray.data.dataset.without_layout import annotated_films, read_annotated
from cephray.errors import InputError
from cephray.storage import Place, place


def read_dataset(
    folder: Place, split: Split, data: DataConfig, on_fault: OnFault = refuse
) -> list[Record]:
    """Read one split of a data set.

    It has a known folder layout, or annotation files of a known format; see `FORMATS`. Only folder
    layouts have splits. In a folder layout, a film without annotation is a fault. An annotation
    without film is always a fault, unless its film may belong to a split whose films are absent.
    For example, a download may lack the films of Test2 but contain all annotations.

    Args:
        folder: folder of the data set, or its annotation file; local, or in an object store.
        split: split to read. "all" reads every film in the folder.
        data: landmark set, reader and spacing. `data.spacing_mm` takes precedence over
            `spacing.csv`, which takes precedence over the annotation, two points of a ruler, a
            DICOM file, and the spacing of the layout, in this order.
        on_fault: called with the faults of single films. If it does not raise, these films are
            left out.

    Returns:
        One record for each film, in natural order of the film names.

    Raises:
        InputError: If the folder cannot be used, or `on_fault` raises. The message is one line.
    """
    folder = place(folder)
    source = _recognise(folder)
    if isinstance(source, Layout):
        records = read_layout(folder, source, split, data, on_fault)
    else:
        records = read_annotated(source, split, data, on_fault)
    return sorted(records, key=lambda record: natural_key(record.film))


def list_films(folder: Place) -> dict[str, dict[str, Place]]:
    """List the films of a data set.

    In a folder layout, films without annotations are listed too.

    Returns:
        Image file by split and film. Splits without films are empty.

    Raises:
        InputError: If the folder contains no data set, or a film occurs twice in a split.
    """
    folder = place(folder)
    source = _recognise(folder)
    if isinstance(source, Layout):
        return films_of(folder, source)
    return {"all": annotated_films(source)}


def _recognise(folder: Place) -> Layout | Annotated:
    """Return the layout of a data set, or its annotation files if it has no known layout."""
    if not folder.exists():
        raise InputError(f"data folder {folder} does not exist")
    layout = match_layout(folder) if folder.is_dir() else None
    source = layout or find_annotations(folder)
    if source is not None:
        return source
    known = "; ".join([layout.name for layout in LAYOUTS] + [one.title for one in FORMATS])
    if not folder.is_dir():
        raise InputError(f"data {folder} is no file of annotations; known formats: {known}")
    entries = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    for entry in entries:
        if (folder / entry).is_dir() and match_layout(folder / entry) is not None:
            raise InputError(f"data folder {folder} is one level too high; give {folder / entry}")
    found = first_few(entries) if entries else "nothing"
    raise InputError(
        f"data folder {folder} has no known layout and no annotations: found {found}; known"
        f" layouts and formats: {known}"
    )
