"""The known folder layouts of data sets, listed in `LAYOUTS`.

A new layout is a new entry of this list. A layout only names folders; `records.py` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cephray.storage import Place


@dataclass(frozen=True)
class Layout:
    """The folders of a data set with films and with annotation files.

    Args:
        name: name of the layout, for messages.
        images: folder of the films by split.
        annotations: folder of the annotation files by split and reader.
        spacing_mm: millimetres per pixel of all films, or None if it is unknown or differs.
        format: name of the format of the annotation files.
    """

    name: str
    images: Mapping[str, str]
    annotations: Mapping[str, Mapping[str, str]]
    spacing_mm: float | None
    format: str = "text"


def _for_each(images: Mapping[str, str], **folders: str) -> dict[str, Mapping[str, str]]:
    return dict.fromkeys(images, folders)


_ISBI = {
    "train": "Dataset/Training",
    "test1": "Dataset/Testing/Test1",
    "test2": "Dataset/Testing/Test2",
}
_ISBI_RAW = {
    "train": "RawImage/TrainingData",
    "test1": "RawImage/Test1Data",
    "test2": "RawImage/Test2Data",
}
_SPLIT_FOLDERS = {"train": "train", "test1": "valid", "test2": "test"}

LAYOUTS = (
    Layout(
        name="ISBI 2015 (Dataset/, Annotations/)",
        images=_ISBI,
        annotations=_for_each(
            _ISBI,
            senior="Annotations/Senior Orthodontist",
            junior="Annotations/Junior Orthodontist",
        ),
        spacing_mm=0.1,
    ),
    Layout(
        name="ISBI 2015 (RawImage/, AnnotationsByMD/)",
        images=_ISBI_RAW,
        annotations=_for_each(
            _ISBI_RAW,
            senior="AnnotationsByMD/400_senior",
            junior="AnnotationsByMD/400_junior",
        ),
        spacing_mm=0.1,
    ),
    Layout(
        name="ISBI 2015 (train/, valid/, test/)",
        images={split: f"{folder}/images" for split, folder in _SPLIT_FOLDERS.items()},
        annotations={
            split: {
                reader: f"{folder}/annotations/{reader}-orthodontist"
                for reader in ("senior", "junior")
            }
            for split, folder in _SPLIT_FOLDERS.items()
        },
        spacing_mm=0.1,
    ),
    Layout(
        name="PKU (images/, annotations/orthodontist-1 and -2)",
        images={"all": "images"},
        annotations={
            "all": {
                "senior": "annotations/orthodontist-1",
                "junior": "annotations/orthodontist-2",
            }
        },
        spacing_mm=None,
    ),
    Layout(
        name="Aariz (train/, valid/, test/)",
        images={split: f"{folder}/Cephalograms" for split, folder in _SPLIT_FOLDERS.items()},
        annotations={
            split: {
                reader: f"{folder}/Annotations/Cephalometric Landmarks/{name} Orthodontists"
                for reader, name in (("senior", "Senior"), ("junior", "Junior"))
            }
            for split, folder in _SPLIT_FOLDERS.items()
        },
        spacing_mm=None,
        format="aariz",
    ),
)


def match_layout(folder: Place) -> Layout | None:
    """Return the first layout of which `folder` contains a folder of films, or None.

    A folder `images` occurs in data sets of many kinds. The layout with this name alone must have
    a folder of annotations as well.
    """
    for layout in LAYOUTS:
        if not any((folder / path).is_dir() for path in layout.images.values()):
            continue
        annotations = {path for paths in layout.annotations.values() for path in paths.values()}
        if len(layout.images) > 1 or any((folder / path).is_dir() for path in annotations):
            return layout
    return None
