"""Cases of the ROI crop's benchmark: sizes, boxes, and the bytes that must be moved.

Sizes are the paper's: 256 channels a level, strides 32, 16, 8 and 4 of an 800 × 640 film, windows
of 3, 5, 7 and 9 cells. Needs NumPy only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CHANNELS = 256
COARSEST = (25, 20)  # stride 32
WINDOW_CELLS = (3, 5, 7, 9)  # coarsest level first
BATCHES = (1, 8, 64)
LANDMARKS = (19, 29, 38)
SIZES = (3, 5, 7, 9)
DEPTHS = (1, 2, 3, 4)
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Case:
    """B films, K landmarks, S samples along a side, L levels."""

    batch: int = 8
    landmarks: int = 19
    crop_size: int = 5
    depth: int = 3
    dtype: str = "float32"

    @property
    def level_sizes(self) -> list[tuple[int, int]]:
        """(H_l, W_l), finest first."""
        return [(COARSEST[0] << i, COARSEST[1] << i) for i in reversed(range(self.depth))]

    @property
    def feature_shapes(self) -> list[tuple[int, int, int, int]]:
        """[B, H_l, W_l, C_l] of each level."""
        return [(self.batch, height, width, CHANNELS) for height, width in self.level_sizes]

    @property
    def crops_shape(self) -> tuple[int, int, int, int, int]:
        """[B, K, S, S, ΣC_l]."""
        size = self.crop_size
        return (self.batch, self.landmarks, size, size, self.depth * CHANNELS)

    @property
    def item_bytes(self) -> int:
        """Bytes of one value."""
        return 4 if self.dtype == "float32" else 2

    @property
    def crops_bytes(self) -> int:
        """Bytes of the crops."""
        return int(np.prod(self.crops_shape)) * self.item_bytes

    @property
    def features_bytes(self) -> int:
        """Bytes of all levels."""
        return sum(int(np.prod(s)) for s in self.feature_shapes) * self.item_bytes


def quick_cases() -> Iterator[Case]:
    """The default case, then one factor at a time."""
    default = Case()
    yield default
    yield from (replace(default, batch=B) for B in BATCHES if default.batch != B)
    yield from (replace(default, landmarks=K) for K in LANDMARKS if default.landmarks != K)
    yield from (replace(default, crop_size=S) for S in SIZES if default.crop_size != S)
    yield from (replace(default, depth=L) for L in DEPTHS if default.depth != L)
    yield from (replace(default, batch=B, dtype="bfloat16") for B in BATCHES)


def full_cases() -> Iterator[Case]:
    """Every combination."""
    for values in itertools.product(BATCHES, LANDMARKS, SIZES, DEPTHS, DTYPES):
        yield Case(*values)


def draw_boxes(case: Case, rng: np.random.Generator) -> Array:
    """Windows around random landmarks, clipped to the film: float32 [B, K, L, 4]."""
    points = rng.uniform(0.15, 0.85, (case.batch, case.landmarks, 2))  # (y, x)
    boxes = []
    for size, cells in zip(case.level_sizes, reversed(WINDOW_CELLS[: case.depth]), strict=True):
        last = np.array(size) - 1.0
        centre = points * np.array(size) - 0.5  # cells
        ends = [(centre - cells / 2) / last, (centre + cells / 2) / last]
        boxes.append(np.concatenate(ends, -1).clip(0, 1))
    return np.stack(boxes, 2).astype(np.float32)


def touched_cells(case: Case, boxes: Array) -> int:
    """Count the cells of all levels that at least one sample reads."""
    count = 0
    steps = np.arange(case.crop_size) / max(case.crop_size - 1, 1)
    for level, size in enumerate(case.level_sizes):
        low, high = boxes[:, :, level, None, :2], boxes[:, :, level, None, 2:]
        at = (low + (high - low) * steps[:, None]) * (np.array(size) - 1.0)  # [B, K, S, 2]
        cells = np.stack([np.floor(at), np.ceil(at)], 3).astype(int)  # [B, K, S, 2, 2]
        cells = cells.reshape(*at.shape[:2], -1, 2)
        for image in cells:
            touched = np.zeros(size, bool)
            for box in image:
                touched[np.ix_(np.unique(box[:, 0]), np.unique(box[:, 1]))] = True
            count += int(touched.sum())
    return count


def floor_bytes(case: Case, boxes: Array, direction: str) -> int:
    """Bytes that must be moved: each result written once, each value that is used read once."""
    if direction == "forward":
        read = touched_cells(case, boxes) * CHANNELS * case.item_bytes
        return case.crops_bytes + read + boxes.nbytes
    return case.features_bytes + case.crops_bytes + boxes.nbytes
