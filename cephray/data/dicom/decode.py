"""DICOM files: grey values as a viewer shows them, and the spacing of their pixels.

Only the elements of the picture are parsed, so that nothing written from here on, message or
result, can hold who is on it. It knows bytes, and neither paths nor the network.
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

# What decodes a compression that pydicom and Pillow do not; not installed with cephray, the first
# because of its licence, the GPL.
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

_SAME = 1e-3  # spacings that differ by less are one, written with different roundings
_LONGEST = 4.0  # pixels longer than this are a damaged number, no film

# Values are checked where they are used; what pydicom puts up with is no news to a user, and would
# quote them.
config.settings.reading_validation_mode = config.IGNORE
warnings.filterwarnings("ignore", module=r"pydicom\.")


@dataclass(frozen=True, eq=False)
class DicomFilm:
    """A decoded DICOM file, its pixels square."""

    image: NDArray[np.uint8]  # [H, W], 0 black to 255 white
    spacing_mm: float | None  # millimetres per pixel
    spacing_source: str | None  # the element that the spacing is from, and its correction
    resampled_from_px: tuple[int, int] | None  # (width, height) of a file whose pixels are not
    notes: tuple[str, ...] = ()  # what the file says and was left out, and why


def is_dicom(content: bytes) -> bool:
    """Return whether a file's first 132 bytes, or more, are those of a DICOM file."""
    return content[128:132] == b"DICM"


def decode_dicom(content: bytes, film: str) -> DicomFilm:
    """Decode a DICOM file as grey values: white is what a viewer shows white.

    Args:
        content: of the file, `is_dicom`.
        film: names the film in messages.

    Raises:
        InputError: it is damaged, no single picture, or compressed in a way that needs a decoder
            that is not installed; one line.
    """
    try:
        dataset = dcmread(BytesIO(content), specific_tags=list(_ELEMENTS))
        _require_picture(dataset, film)
        image, notes = _grey(dataset, decode_pixels(dataset), film)
        return _with_square_pixels(image, dataset, film, notes)
    except InputError:
        raise
    except Exception as error:  # pydicom raises whatever it meets in a damaged file
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"film {film} is a DICOM file that cannot be decoded ({said}); copy it again from its"
            " source, or export it as PNG"
        ) from None


def _require_picture(dataset: Dataset, film: str) -> None:
    """Refuse what has no picture, several, or one that cannot be decoded here."""
    if "PixelData" not in dataset:
        raise InputError(
            f"film {film} holds no pixel data: it is a DICOM file of another kind, such as a"
            " report; leave it out"
        )
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise InputError(
            f"film {film} holds {frames} frames, and a film is one; export the one that is wanted"
        )
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        missing = not get_decoder(syntax).is_available
    except NotImplementedError:
        missing = True
    # Pillow decodes 8 bits of this one, where 12 are usual.
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
    """Turn decoded pixels [H, W] or [H, W, 3] into grey values, and note what was left out."""
    kind = dataset.PhotometricInterpretation
    if pixels.dtype.itemsize > 2 and int(pixels.max()) - int(pixels.min()) >= 2**16:
        raise InputError(
            f"film {film} holds pixels of more than 16 bits; export it with 16 or fewer"
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
            f"film {film} has pixels of the kind {kind}, and not grey or colour; export it as PNG"
        )
    darkest, brightest = int(pixels.min()), int(pixels.max())
    places = pixels.astype(np.int64) - darkest
    # The grey value of a pixel depends on its value alone, and is computed once for each value.
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
    """Add the spacing; if rows and columns differ, resample to the finer of the two.

    Angles between points are right in square pixels only, and one number is the spacing. The
    shape of the pixels is used even if their size is impossible: a wrong unit does not change it.
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
            f"film {film} has pixels of {pair[1]:g} × {pair[0]:g} mm, which no scanner makes;"
            " correct the file, or export it as PNG"
        )
    size = (round(width * pair[1] / finer), round(height * pair[0] / finer))
    square = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return DicomFilm(square, finer if found else None, source, (width, height), notes)
