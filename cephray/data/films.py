"""Decoding of films: from a `Record` to a `Film` at the network's size with checked landmarks.

It knows image files, but no layouts of data sets.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cephray import geometry
from cephray.config import DataConfig
from cephray.data.dataset import IMAGE_SUFFIXES, Record
from cephray.data.dicom import DICOM_SUFFIXES, decode_dicom, is_dicom, used_bits
from cephray.data.opencv import cv2
from cephray.errors import InputError
from cephray.plausibility import spacing_fault
from cephray.storage import Place, RemotePath, place

GrayImage = NDArray[np.uint8]  # [H, W], 0 black to 255 white
Fit = Literal["stretch", "letterbox"]

FILM_SUFFIXES = (*IMAGE_SUFFIXES, *DICOM_SUFFIXES)

# Markers that show whether a file is complete. Entropy-coded JPEG data never contains the end
# marker, so that the last end marker must follow the last start of a scan. A PNG file ends with
# the end chunk and its checksum.
_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


@dataclass(frozen=True, eq=False)
class Film:
    """A decoded film at the network's size, with its original size and spacing.

    Args:
        film: name of the film.
        image: uint8 [H, W], the network's input.
        landmarks_norm: float32 [K, 2], normalised to the frame; NaN where missing.
        size_px: (width, height) of the original film, pixels.
        spacing_mm: millimetres per pixel of the original film; NaN if unknown.
        frame: part of the original film that the image shows.
        truths_norm: float32 [R, K, 2], normalised marks of which training draws one each time, or
            None if the truth is always `landmarks_norm`.
        pixels: uint8 [h, w], the original film, or None if it is not kept.
    """

    film: str
    image: GrayImage
    landmarks_norm: NDArray[np.float32]
    size_px: tuple[int, int]
    spacing_mm: float
    frame: geometry.Frame
    truths_norm: NDArray[np.float32] | None = None
    pixels: GrayImage | None = field(default=None, repr=False)

    @property
    def extent_mm(self) -> tuple[float, float]:
        """Width and height of the frame in millimetres."""
        return self.frame.width * self.spacing_mm, self.frame.height * self.spacing_mm


@dataclass(frozen=True, eq=False)
class Original:
    """A film at its full size.

    Attributes:
        image: Grey values, uint8 [H, W], 0 black to 255 white.
        spacing_mm: Millimetres per pixel, or None if the file does not contain it.
        spacing_source: DICOM elements from which the spacing was computed, or None.
        resampled_from_px: (width, height) in the file if its pixels are not square, else None.
        notes: Elements of the file that were ignored, and the reasons.
    """

    image: GrayImage
    spacing_mm: float | None = None
    spacing_source: str | None = None
    resampled_from_px: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()


class View(NamedTuple):
    """How films are fitted to the size of the network's input.

    Args:
        height, width: size of the network's input, pixels.
        fit: "stretch" resizes the whole film. "letterbox" keeps its aspect ratio.
    """

    height: int
    width: int
    fit: Fit = "stretch"

    @classmethod
    def of(cls, data: DataConfig) -> View:
        """Return the view of a configuration."""
        return cls(data.image_height, data.image_width, data.fit)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network's input, pixels."""
        return self.height, self.width

    def frame(self, size_px: tuple[int, int]) -> geometry.Frame:
        """Return the frame that the network sees of a film of this (width, height) in pixels."""
        if self.fit == "stretch":
            return geometry.whole_film(size_px)
        return geometry.letterbox(size_px, self.height / self.width)

    def show(self, image: GrayImage, frame: geometry.Frame | None = None) -> GrayImage:
        """Crop a film to a frame and resize it to the network's input.

        Outside the film, its edge pixels are repeated.

        Args:
            image: uint8 [h, w], the whole film.
            frame: frame to crop to. If None, it is the one that `View.frame` returns.

        Returns:
            uint8 [H, W].
        """
        size_px = (image.shape[1], image.shape[0])
        frame = frame if frame is not None else self.frame(size_px)
        if frame != geometry.whole_film(size_px):
            image = _cut(image, frame)
        return resize_film(image, self.size)


def load_film(record: Record, view: View) -> Film:
    """Decode, check and resize one film.

    Args:
        record: path, landmarks and spacing of the film.
        view: how the film is fitted to the network's input.

    Raises:
        InputError: If the file cannot be decoded, a landmark lies outside the film, or the
            spacing is impossible.
    """
    image = read_pixels(record.image_path)
    size_px = (image.shape[1], image.shape[0])
    check_landmarks(record, size_px)
    check_spacing(record, size_px)
    film = view_film(record.film, image, record.landmarks_px, record.spacing_mm, view)
    if record.truths_px is None:
        return film
    truths_norm = geometry.normalise(record.truths_px, film.frame).astype(np.float32)
    return replace(film, truths_norm=truths_norm)


def view_film(
    name: str,
    image: GrayImage,
    landmarks_px: NDArray[np.floating[Any]],
    spacing_mm: float,
    view: View,
) -> Film:
    """Resize a decoded film to the network's size, and normalise its landmarks.

    Args:
        name: name of the film.
        image: uint8 [h, w], the original film.
        landmarks_px: [K, 2], pixels of the original; NaN where missing.
        spacing_mm: millimetres per pixel of the original, or NaN if unknown.
        view: how the film is fitted to the network's input.
    """
    size_px = (image.shape[1], image.shape[0])
    frame = view.frame(size_px)
    return Film(
        film=name,
        image=view.show(image, frame),
        landmarks_norm=geometry.normalise(landmarks_px, frame).astype(np.float32),
        size_px=size_px,
        spacing_mm=spacing_mm,
        frame=frame,
        pixels=image,
    )


def read_pixels(path: Place) -> GrayImage:
    """Read the grey values of a film, uint8 [H, W]; see `read_film`.

    Raises:
        InputError: If the file cannot be read as a film.
    """
    return read_film(path).image


def read_film(path: str | Place) -> Original:
    """Read a film as grey values.

    Colours are converted to luminance. Of a 16-bit film, the 8 highest bits in use are kept; see
    `highest_bits`. The format is recognised by the file's content, not by its name.

    Only DICOM files have a spacing. The resolution in other files is ignored, since it refers to
    printing: scanners and programs write 72, 96 or 300 dots per inch for films of any size.

    Example:
        >>> film = read_film("film.png")
        >>> film.image.shape, film.spacing_mm
        ((600, 484), None)

    Args:
        path: bmp, png, jpeg, tiff or webp file with 8 or 16 bits per channel, or a DICOM file; or
            its URI in an object store.

    Returns:
        The film at its full size, with its spacing if the file contains it.

    Raises:
        InputError: If the file is missing, empty, cut off, or not an image. The message is one
            line.
        RunError: If the object store cannot be reached.
    """
    path = place(path)
    return decode_film(_content_of(path), path)


def decode_film(content: bytes, path: Place | str) -> Original:
    """Decode the content of a film's file; see `read_film`.

    Args:
        content: content of the file.
        path: its path or name, for messages.

    Raises:
        InputError: If the content is empty, cut off, or not an image. The message is one line.
    """
    if not content:
        raise InputError(f"film {path} is empty (0 bytes); copy it again from its source")
    if is_dicom(content):
        dicom = decode_dicom(content, str(path))
        return Original(
            dicom.image,
            dicom.spacing_mm,
            dicom.spacing_source,
            dicom.resampled_from_px,
            dicom.notes,
        )
    if _is_cut_off(content):
        raise InputError(
            f"film {path} is cut off after {len(content)} bytes; copy it again from its source"
        )
    image = _decode(content)
    if image is None:
        raise InputError(
            f"film {path} is not a readable image; known formats: {', '.join(FILM_SUFFIXES)};"
            " if it is one of these, the file is damaged: copy it again from its source"
        )
    if image.dtype == np.uint8:
        return Original(image)
    if image.dtype != np.uint16:
        raise InputError(
            f"film {path} has pixels of type {image.dtype}; save it with 8 or 16 bits per channel"
        )
    return Original(highest_bits(image))


def highest_bits(image: NDArray[np.uint16]) -> GrayImage:
    """Reduce a 16-bit film to the 8 highest bits in use.

    The number of bits in use is the smallest of 8, 10, 12, 14 and 16 that can represent the
    brightest pixel.

    Args:
        image: uint16 [H, W].

    Returns:
        uint8 [H, W].
    """
    return (image >> (used_bits(int(image.max())) - 8)).astype(np.uint8)


def resize_film(image: GrayImage, size: tuple[int, int]) -> GrayImage:
    """Resize a film, by area averaging along axes that shrink and cubically along others.

    Pixel centres are mapped as in `geometry.py`, so that normalised landmarks do not change.

    Args:
        image: uint8 [h, w].
        size: (H, W) of the result, pixels.

    Returns:
        uint8 [H, W].
    """
    height, width = size
    small = (min(width, image.shape[1]), min(height, image.shape[0]))
    if small != image.shape[::-1]:
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    if small != (width, height):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    return image


def check_landmarks(record: Record, size_px: tuple[int, int]) -> None:
    """Check that all landmarks of a record lie on its film, and that it has the size marked on.

    Missing landmarks are accepted.

    Args:
        record: record of the film.
        size_px: (width, height) of the film, pixels.

    Raises:
        InputError: If a landmark lies outside, or the film has another size. The message names
            the film, its size, and the first such landmark.
    """
    if record.size_px is not None and record.size_px != size_px:
        width, height = record.size_px
        raise InputError(
            f"film {record.image_path}: has {size_px[0]} × {size_px[1]} pixels, but was marked at"
            f" {width} × {height}; give the film that was marked"
        )
    outside = np.flatnonzero(geometry.outside(record.landmarks_px, size_px))
    if outside.size:
        x, y = record.landmarks_px[outside[0]]
        cause = "were the marks made on another film, or on one of another size?"
        if not geometry.outside(record.landmarks_px[:, ::-1], size_px).any():
            cause = "x and y seem to be swapped in its annotation"
        raise InputError(
            f"film {record.image_path}: landmark {outside[0] + 1} at ({x:g}, {y:g}) lies outside"
            f" the film of {size_px[0]} × {size_px[1]} pixels; {cause}"
        )


def check_spacing(record: Record, size_px: tuple[int, int]) -> None:
    """Check that the spacing of a record is possible for its film.

    Args:
        record: record of the film.
        size_px: (width, height) of the film, pixels.

    Raises:
        InputError: If it is not. The message names the film and the spacing.
    """
    fault = spacing_fault(record.spacing_mm, size_px[1])
    if fault is not None:
        raise InputError(
            f"film {record.image_path}: {fault}; correct data.spacing_mm or spacing.csv"
        )


def _cut(image: GrayImage, frame: geometry.Frame) -> GrayImage:
    """Crop a film to a frame. Outside the film, its edge pixels are repeated."""
    height, width = image.shape
    left, top = frame.left, frame.top
    right, bottom = left + frame.width, top + frame.height
    inside = image[
        np.clip(top, 0, height - 1) : np.clip(bottom, 1, height),
        np.clip(left, 0, width - 1) : np.clip(right, 1, width),
    ]
    around = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    part: GrayImage = cv2.copyMakeBorder(inside, *around, cv2.BORDER_REPLICATE)
    return part


def _content_of(path: Place) -> bytes:
    """Return the bytes of a film's file.

    Raises:
        InputError: If there is no file.
    """
    try:
        if isinstance(path, RemotePath):  # each question would be a request
            return path.read_bytes()
        if path.is_dir():
            raise InputError(f"film {path} is a folder; give an image file")
        if path.exists() and not path.is_file():
            raise InputError(f"film {path} is a device or a pipe; give an image file")
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"film {path} does not exist") from None
    except OSError as error:
        raise InputError(f"film {path} cannot be read ({error.strerror})") from None


def _is_cut_off(content: bytes) -> bool:
    if content.startswith(_JPEG_START):
        return content.rfind(_JPEG_END) < content.rfind(_JPEG_SCAN)
    if content.startswith(_PNG_START):
        return _PNG_END not in content
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":  # the header contains the size
        return len(content) < 8 + int.from_bytes(content[4:8], "little")
    return False


def _decode(content: bytes) -> NDArray[Any] | None:
    try:
        decoded: NDArray[Any] | None = cv2.imdecode(
            np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
        )
    except cv2.error:
        return None
    return decoded
