"""A film of a data set: its image file, and the landmarks that are taken as the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cephray.storage import Place

Split = Literal["train", "test1", "test2", "all"]

IMAGE_SUFFIXES = (".bmp", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")

MEAN, ALL = "mean", "all"
"""Values of `data.reader` that are no name of a reader."""


@dataclass(frozen=True, eq=False)
class Record:
    """A film of a data set, with its image file and landmarks.

    Args:
        film: name of the film, which is the stem of its file name, such as "001".
        image_path: path of the image file.
        landmarks_px: [K, 2], true landmarks, pixels; NaN where missing.
        spacing_mm: millimetres per pixel.
        split: "train", "test1" or "test2"; "all" if the data set has no splits.
        readers_px: marks [K, 2] by reader, pixels; NaN where missing.
        size_px: (width, height) of the film on which the marks were made, pixels, or None if the
            annotation does not give it.
        truths_px: [R, K, 2], marks of R readers of which training draws one each time, pixels; or
            None if the truth is always `landmarks_px`.
        class_labels: classes of ANB, SNB, SNA, ODI, APDI, FHI, SN-GoGn and MW, as in the ISBI data
            set, or None.
    """

    film: str
    image_path: Place
    landmarks_px: NDArray[np.float64]
    spacing_mm: float
    split: str
    readers_px: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    class_labels: tuple[int, ...] | None = None
    size_px: tuple[int, int] | None = None
    truths_px: NDArray[np.float64] | None = None


def true_marks(marks: Mapping[str, NDArray[np.float64]], reader: str) -> NDArray[np.float64]:
    """Return the marks that are taken as the truth, [K, 2], pixels.

    Args:
        marks: marks [K, 2] by reader, pixels; NaN where missing.
        reader: name of a reader, or `MEAN` or `ALL` for the mean over the readers that marked a
            landmark.
    """
    if reader not in (MEAN, ALL):
        return marks[reader]
    every = np.stack(list(marks.values()))  # [readers, K, 2]
    known = ~np.isnan(every)
    total = np.where(known, every, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def drawn_marks(
    marks: Mapping[str, NDArray[np.float64]], reader: str
) -> NDArray[np.float64] | None:
    """Return the marks that training draws from, [R, K, 2], or None if it does not draw.

    Args:
        marks: marks [K, 2] by reader, pixels; NaN where missing.
        reader: name of a reader, `MEAN` or `ALL`; only with `ALL`, training draws.
    """
    return np.stack(list(marks.values())) if reader == ALL else None
