"""Search for copies: images that show the same film with any contrast or encoding.

Copies of training films must not be evaluated on, since their errors are too small. It knows
images, but no splits and no landmarks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from cephray.data.opencv import cv2
from cephray.storage import READS_AT_ONCE, Place, RemotePath

# Films are reduced to this size, and their edges are compared, normalised to the same local
# strength. On ISBI 2015 the 23 known pairs have correlations of at least 0.92, and the other
# 44,827 pairs of at most 0.60.
HEIGHT, WIDTH, SIGMA = 80, 64, 1.0
MIN_CORRELATION = 0.8
_NOISE = 1.0  # strength in grey values below which edges are not amplified


def find_copies(
    paths: Sequence[Place], progress: Callable[[int], None] = lambda films: None
) -> list[tuple[int, int]]:
    """Find pairs of images that show the same film.

    Args:
        paths: paths of N image files. Files that cannot be read have no copies.
        progress: called with the number of films read since the last call.

    Returns:
        Pairs (i, j) of indices of `paths` with i < j, in ascending order.
    """
    rows: list[NDArray[np.float32]] = []
    remote = any(isinstance(path, RemotePath) for path in paths)
    with ThreadPoolExecutor(READS_AT_ONCE if remote else os.cpu_count()) as pool:
        for row in pool.map(_edges, paths):
            rows.append(row)
            progress(1)
    if not rows:
        return []
    edges = np.stack(rows)  # [N, HEIGHT * WIDTH], of length 1 each
    is_copy = np.triu(edges @ edges.T >= MIN_CORRELATION, k=1)
    return [(int(i), int(j)) for i, j in np.argwhere(is_copy)]


def _edges(path: Place) -> NDArray[np.float32]:
    """Return a film's edges as a vector of length 1, or zeros if there are none."""
    nothing = np.zeros(HEIGHT * WIDTH, np.float32)
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError:
        return nothing
    # A JPEG decoder can average while it reduces. For other formats OpenCV would drop pixels.
    is_jpeg = content[:3].tobytes() == b"\xff\xd8\xff"
    how = cv2.IMREAD_REDUCED_GRAYSCALE_4 if is_jpeg else cv2.IMREAD_GRAYSCALE
    image = cv2.imdecode(content, how) if content.size else None
    if image is None:
        return nothing
    small = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = small - cv2.GaussianBlur(small, (0, 0), SIGMA)
    strength = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 2 * SIGMA)) + _NOISE
    vector = (detail / strength).ravel()
    vector -= vector.mean()
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else nothing
