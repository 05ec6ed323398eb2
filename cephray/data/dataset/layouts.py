"""The known folder layouts, as data: a further data set is one more entry of `LAYOUTS`.

It names folders; what is in them, and whether it is complete, `records.py` finds out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Folders of a data set's films and of each reader's annotation files."""

    name: str
    images: Mapping[str, str]  # split: folder
    annotations: Mapping[str, Mapping[str, str]]  # split: reader: folder
    spacing_mm: float | None  # None: not known for the whole data set


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
_ISBI_FOLDERS = {"train": "train", "test1": "valid", "test2": "test"}

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
        images={split: f"{folder}/images" for split, folder in _ISBI_FOLDERS.items()},
        annotations={
            split: {
                reader: f"{folder}/annotations/{reader}-orthodontist"
                for reader in ("senior", "junior")
            }
            for split, folder in _ISBI_FOLDERS.items()
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
)


def match_layout(folder: Path) -> Layout | None:
    """Return the layout of which `folder` holds a film folder, or None if there is none."""
    for layout in LAYOUTS:
        if any((folder / path).is_dir() for path in layout.images.values()):
            return layout
    return None
