"""Decoding of DICOM files to grey values, as a viewer shows them, with square pixels.

Only elements that describe the image are parsed, so that no message or result can identify the
patient. It knows bytes, but no paths and no networks.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, config, dcmread
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.pixels import pixel_array as decode_pixels

from cephray.data.dicom import spacing as dicom_spacing
from cephray.data.dicom.grey import grey_of_values, used_bits
from cephray.data.opencv import cv2
from cephray.errors import InputError

DICOM_SUFFIXES = (".dcm",)

_ELEMENTS = (
    *dicom_spacing.ELEMENTS,
    "PixelData", "PhotometricInterpretation", "NumberOfFrames",
    "SamplesPerPixel", "PlanarConfiguration", "Rows", "Columns", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept",
    "VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths", "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
)  # fmt: skip

# Packages for compressions that pydicom and Pillow cannot decode. They are not dependencies of
# cephray; pylibjpeg-libjpeg cannot be one, since its licence is the GPL.
_DECODERS = {
    "1.2.840.10008.1.2.4.51": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.57": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.70": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.201": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg pylibjpeg-openjpeg",
}

_SAME = 1e-3  # relative difference up to which spacings are equal, except for rounding
_LONGEST = 4.0  # ratio of the sides of a pixel above which its spacing must be damaged

# Values are checked where they are used. The warnings of pydicom would quote values of elements.
config.settings.reading_validation_mode = config.IGNORE
warnings.filterwarnings("ignore", module=r"pydicom\.")


@dataclass(frozen=True, eq=False)
class DicomFilm:
    """A decoded DICOM file with square pixels.

    Args:
        image: [H, W], 0 black to 255 white.
        spacing_mm: millimetres per pixel, or None if unknown.
        spacing_source: elements from which the spacing was computed, or None.
        resampled_from_px: (width, height) in the file if its pixels are not square, else None.
        notes: elements of the file that were ignored, and the reasons.
    """

    image: NDArray[np.uint8]
    spacing_mm: float | None
    spacing_source: str | None
    resampled_from_px: tuple[int, int] | None
    notes: tuple[str, ...] = ()


def is_dicom(content: bytes) -> bool:
    """Return whether a file is a DICOM file, from at least its first 132 bytes."""
    return content[128:132] == b"DICM"


def decode_dicom(content: bytes, film: str) -> DicomFilm:
    """Decode a DICOM file to grey values, as a viewer shows them.

    Args:
        content: content of the file, which must be a DICOM file (`is_dicom`).
        film: name of the film for messages.

    Raises:
        InputError: If the file is damaged, does not contain a single image, or needs a decoder
            that is not installed. The message is one line.
    """
    try:
        dataset = dcmread(BytesIO(content), specific_tags=list(_ELEMENTS))
        _require_picture(dataset, film)
        image, notes = _grey(dataset, decode_pixels(dataset), film)
        return _with_square_pixels(image, dataset, film, notes)
    except InputError:
        raise
    except Exception as error:  # pydicom raises errors of any type for damaged files
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"film {film} is a DICOM file that cannot be decoded ({said}); copy it again from its"
            " source, or export it as PNG"
        ) from None


def read_dicom_spacing(content: bytes) -> float | None:
    """Read the spacing of a DICOM file, of whose pixels nothing is decoded.

    Args:
        content: content of the file, which must be a DICOM file (`is_dicom`).

    Returns:
        Millimetres per pixel of the film that `decode_dicom` returns, or None if the file does not
        contain it or is damaged.
    """
    try:
        elements = [*dicom_spacing.ELEMENTS, "Rows"]
        dataset = dcmread(BytesIO(content), specific_tags=elements, stop_before_pixels=True)
        found, _ = dicom_spacing.find_spacing(dataset, int(dataset.Rows))
    except Exception:  # pydicom raises errors of any type for damaged files
        return None
    if found is None:
        return None
    is_square = max(found[:2]) / min(found[:2]) - 1 < _SAME
    return sum(found[:2]) / 2 if is_square else min(found[:2])


def _require_picture(dataset: Dataset, film: str) -> None:
    """Check that a file contains a single image, and that its decoder is installed."""
    if "PixelData" not in dataset:
        raise InputError(
            f"film {film} contains no pixel data: it is a DICOM file of another kind, such as a"
            " report; leave it out"
        )
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise InputError(
            f"film {film} contains {frames} frames instead of one; export the frame that you need"
        )
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        missing = not get_decoder(syntax).is_available
    except NotImplementedError:
        missing = True
    # Pillow decodes only 8 bits of this compression, but 12 bits are usual.
    missing |= (
        syntax == "1.2.840.10008.1.2.4.51" and dataset.BitsStored > 8 and not find_spec("libjpeg")
    )
    if missing:
        cure = f"pip install {_DECODERS[syntax]}, or " if syntax in _DECODERS else ""
        raise InputError(
            f"film {film} is compressed as {syntax.name}, which cannot be decoded here; {cure}"
            "export it uncompressed or as PNG"
        )


def _grey(
    dataset: Dataset, pixels: NDArray[Any], film: str
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Convert decoded pixels [H, W] or [H, W, 3] to grey values [H, W].

    Returns:
        The grey values, and notes on elements that were ignored.
    """
    kind = dataset.PhotometricInterpretation
    if pixels.dtype.itemsize > 2 and int(pixels.max()) - int(pixels.min()) >= 2**16:
        raise InputError(
            f"film {film} has pixels of more than 16 bits; export it with 16 or fewer"
        )
    if kind == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
    if pixels.ndim == 3:
        colours = np.ascontiguousarray(pixels[..., :3].astype(np.uint16))
        grey = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)
        grey = grey >> (used_bits(int(grey.max())) - 8)
        return np.asarray(grey, np.uint8), ()
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError(
            f"film {film} has pixels of type {kind}, not grey values or colours; export it as PNG"
        )
    darkest, brightest = int(pixels.min()), int(pixels.max())
    places = pixels.astype(np.int64) - darkest
    # The grey value depends only on the pixel's value, so it is computed once for each value.
    table, notes = grey_of_values(
        np.arange(darkest, brightest + 1), np.bincount(places.reshape(-1)), dataset
    )
    if kind == "MONOCHROME1":
        table = 255 - table
    grey_values: NDArray[np.uint8] = table[places]
    return grey_values, notes


def _with_square_pixels(
    image: NDArray[np.uint8], dataset: Dataset, film: str, notes: tuple[str, ...]
) -> DicomFilm:
    """Resample a film to square pixels if necessary, and add its spacing.

    Angles can be measured in square pixels only, and the spacing must be a single number. The
    film is resampled to the finer of its two spacings. The shape of the pixels is used even if
    their size is impossible, since a wrong unit does not affect the shape.
    """
    height, width = image.shape
    found, spacing_notes = dicom_spacing.find_spacing(dataset, height)
    notes += spacing_notes
    source = found.source if found is not None else None
    pair = found[:2] if found is not None else dicom_spacing.pixel_shape(dataset)
    finer, longest = min(pair), max(pair) / min(pair)
    if longest - 1 < _SAME:
        return DicomFilm(image, sum(pair) / 2 if found else None, source, None, notes)
    if longest > _LONGEST:
        raise InputError(
            f"film {film} has pixels of {pair[1]:g} × {pair[0]:g} mm, which no scanner produces;"
            " correct the file, or export it as PNG"
        )
    size = (round(width * pair[1] / finer), round(height * pair[0] / finer))
    square = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return DicomFilm(square, finer if found else None, source, (width, height), notes)
