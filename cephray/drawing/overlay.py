"""Overlays: films with landmarks, true landmarks, tracing lines and warnings drawn on them.

It draws with OpenCV on a copy of the film. It knows pixels and labels, but no models.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.data import GrayImage, cv2
from cephray.errors import RunError
from cephray.landmarks import TracingLine

ColourImage = NDArray[np.uint8]  # [H, W, 3], blue, green, red

_PREDICTED, _TRUTH, _ERROR, _SHADOW = (80, 220, 255), (120, 255, 80), (60, 60, 255), (0, 0, 0)
_LINE = (235, 170, 90)
_WARNING = (40, 40, 190)  # background of the warnings
_AROUND = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy]
_SUBPIXEL_BITS = 4  # OpenCV draws at fractions of a pixel in fixed point
_CROP_MARGIN = 0.08  # around the landmarks, fraction of the film's height
_JPEG_QUALITY = 82
# Two thirds of the bytes of OpenCV's own choice for a film, in the same time.
_PNG = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP, cv2.IMWRITE_PNG_COMPRESSION, 1)
_FAR = 2**24  # coordinates are clipped here: an untrained network's would overflow in OpenCV


def draw_overlay(
    image: GrayImage,
    predicted_px: NDArray[np.floating[Any]],
    labels: Sequence[str],
    truth_px: NDArray[np.floating[Any]] | None = None,
    height: int = 1200,
    lines: Sequence[TracingLine] = (),
    doubts: Sequence[str] = (),
) -> ColourImage:
    """Draw landmarks on a film.

    Predicted landmarks are yellow dots with labels, and true landmarks are green crosses. A red
    line joins each pair. Tracing lines are thin and blue. They lie under the marks and extend a
    little beyond their landmarks.

    Args:
        image: uint8 [H, W].
        predicted_px: [K, 2], pixels of the film.
        labels: K short names.
        truth_px: [K, 2], pixels of the film, NaN where missing. If None, no truth is drawn.
        height: height that the film is resized to, pixels.
        lines: tracing lines between predicted landmarks, which they name by their labels. A line
            is not drawn if a landmark of it is missing.
        doubts: reasons why the landmarks are doubtful, on a red strip above the film.

    Returns:
        uint8 [h, w, 3], in the order blue, green, red.

    Raises:
        ValueError: If a line names a landmark that is not among the labels.
    """
    scale = height / image.shape[0]
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    picture = cv2.cvtColor(
        cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC),
        cv2.COLOR_GRAY2BGR,
    )
    unit = max(1.0, picture.shape[0] / 400)

    def place(point: NDArray[np.floating[Any]]) -> tuple[int, int]:
        x, y = np.round(((point + 0.5) * scale - 0.5) * 2**_SUBPIXEL_BITS)
        return int(np.clip(x, -_FAR, _FAR)), int(np.clip(y, -_FAR, _FAR))

    line = {"lineType": cv2.LINE_AA, "shift": _SUBPIXEL_BITS}
    thickness = max(1, round(unit * 0.6))
    rim = max(1, round(unit * 0.4))
    arm = round(2.5 * unit * 2**_SUBPIXEL_BITS)
    for start_px, end_px in _ends(lines, predicted_px, labels, beyond_px=8 * unit / scale):
        thin = max(1, round(unit * 0.3))
        cv2.line(picture, place(start_px), place(end_px), _LINE, thin, **line)
    for index, (point, label) in enumerate(zip(predicted_px, labels, strict=True)):
        if not np.isfinite(point).all():
            continue
        centre = place(point)
        if truth_px is not None and np.isfinite(truth_px[index]).all():
            x, y = place(truth_px[index])
            cv2.line(picture, centre, (x, y), _ERROR, thickness, **line)
            cv2.line(picture, (x - arm, y), (x + arm, y), _TRUTH, thickness, **line)
            cv2.line(picture, (x, y - arm), (x, y + arm), _TRUTH, thickness, **line)
        cv2.circle(picture, centre, round(1.6 * unit * 2**_SUBPIXEL_BITS), _PREDICTED, -1, **line)
        left, base = (round(c / 2**_SUBPIXEL_BITS + 2.5 * unit) for c in centre)
        # The outline is the same text, shifted. In OpenCV 5, thicker text is also wider, so that
        # it does not lie around the thin text.
        for dx, dy in (*_AROUND, (0, 0)):
            cv2.putText(
                picture, label, (left + dx * rim, base + dy * rim), cv2.FONT_HERSHEY_SIMPLEX,
                0.19 * unit, _SHADOW if dx or dy else _PREDICTED, thickness, cv2.LINE_AA,
            )  # fmt: skip
    if doubts:
        warnings = [f"DOUBTFUL: {reason}" for reason in doubts]
        picture = np.concatenate([_banner(warnings, picture.shape[1]), picture])
    result: ColourImage = picture
    return result


def _banner(warnings: Sequence[str], width: int) -> ColourImage:
    """Return a red strip of the given width with the warnings, to be placed above a film."""
    size = 0.55
    sample = "a sample of the letters of a sentence"
    (length, height), _ = cv2.getTextSize(sample, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    margin = height
    columns = max(4, len(sample) * (width - 2 * margin) // max(length, 1) - 2)
    rows = [row for text in warnings for row in textwrap.wrap(text, columns)]
    step = 2 * height + 4
    strip = np.full((step * (len(rows) + 1), width, 3), _WARNING, np.uint8)
    for number, row in enumerate(rows, 1):
        place = (margin, number * step)
        cv2.putText(
            strip, row, place, cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 1, cv2.LINE_AA
        )
    return strip


def _ends(
    lines: Sequence[TracingLine],
    points_px: NDArray[np.floating[Any]],
    labels: Sequence[str],
    beyond_px: float,
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield the end points of the lines whose landmarks are present.

    The end points lie `beyond_px` beyond the landmarks.
    """
    place = {label: index for index, label in enumerate(labels)}
    for line in lines:
        unknown = [name for name in (line.start, line.end) if name not in place]
        if unknown:
            raise ValueError(
                f"line {line.name!r} needs {' and '.join(unknown)}, which the labels lack; pass"
                " lines and labels of the same landmark set"
            )
        ends = points_px[[place[line.start], place[line.end]]].astype(np.float64)
        if not np.isfinite(ends).all():
            continue
        start, end = ends
        length_px = np.linalg.norm(end - start)
        if length_px > 0:
            beyond = (end - start) * (beyond_px / length_px)
            yield start - beyond, end + beyond


def crop_around(
    image: GrayImage, points_px: NDArray[np.floating[Any]]
) -> tuple[GrayImage, NDArray[np.float64]]:
    """Crop a film to its landmarks, with a margin.

    Args:
        image: uint8 [H, W].
        points_px: [n, 2], pixels. Points that are missing or outside the film are ignored.

    Returns:
        The crop, uint8 [h, w], and the position (x, y) of its first pixel in the film. If no
        point is inside the film, the crop is the whole film.
    """
    size = np.array(image.shape[::-1])
    inside = points_px[((points_px >= 0) & (points_px < size)).all(axis=-1)]
    if not len(inside):
        return image, np.zeros(2)
    margin = _CROP_MARGIN * image.shape[0]
    low = np.maximum(inside.min(axis=0) - margin, 0).astype(int)
    high = np.minimum(inside.max(axis=0) + margin + 1, size).astype(int)
    return image[low[1] : high[1], low[0] : high[0]], low.astype(np.float64)


def encode_jpeg(picture: ColourImage) -> bytes:
    """Encode a picture as JPEG. A film takes about a tenth of its size as PNG."""
    _, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    encoded: bytes = content.tobytes()
    return encoded


def encode_png(picture: GrayImage | ColourImage) -> bytes:
    """Return the content of a PNG file.

    Args:
        picture: uint8 [H, W], or [H, W, 3] in the order blue, green, red.

    Raises:
        OSError: If it cannot be encoded.
    """
    encoded, content = cv2.imencode(".png", picture, _PNG)
    if not encoded:
        raise OSError("not encoded")
    return bytes(content)


def save_picture(path: Path, picture: ColourImage) -> None:
    """Write a picture to a PNG file.

    Raises:
        RunError: If the file cannot be written, for example because the disk is full.
    """
    try:
        path.write_bytes(encode_png(picture))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise RunError(f"picture {path} could not be written: {error}") from None
