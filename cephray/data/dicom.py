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
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, get_decoder
from pydicom.pixels import pixel_array as decode_pixels

from cephray.data.opencv import cv2
from cephray.errors import InputError

DICOM_SUFFIXES = (".dcm",)

# PS3.3, 10.7. Pixel Spacing is the distance in the patient, and where it was calibrated, against
# an object of known size or for the magnification, the only one that is; where it was not, it has
# to equal the others. These are the distance at the detector, which a magnification of 5 to 15 %
# enlarges, as on any film, and that on the film that was scanned.
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")

_ELEMENTS = (
    *_SPACINGS,
    "PixelAspectRatio", "PixelData", "PhotometricInterpretation", "NumberOfFrames",
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
    spacing_source: str | None  # keyword of the element that the spacing is from
    resampled_from_px: tuple[int, int] | None  # (width, height) of a file whose pixels are not


def is_dicom(content: bytes) -> bool:
    """Tell whether a file's first 132 bytes, or more, are those of a DICOM file."""
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
        image = _grey(dataset, decode_pixels(dataset), film)
        return _with_square_pixels(image, dataset, film)
    except InputError:
        raise
    except Exception as error:  # pydicom raises whatever it meets in a damaged file
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"film {film} is a DICOM file that cannot be decoded ({said}); copy it again from its"
            " source, or export it as PNG"
        ) from None


def used_bits(brightest: int) -> int:
    """Return the depth of a film: the least usual number of bits that holds its brightest pixel.

    Args:
        brightest: pixel value, below 2¹⁶.
    """
    return next(bits for bits in (8, 10, 12, 14, 16) if brightest < 2**bits)


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


def _grey(dataset: Dataset, pixels: NDArray[Any], film: str) -> NDArray[np.uint8]:
    """Turn decoded pixels [H, W] or [H, W, 3] into grey values."""
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
        return np.asarray(grey, np.uint8)
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError(
            f"film {film} has pixels of the kind {kind}, and not grey or colour; export it as PNG"
        )
    darkest, brightest = int(pixels.min()), int(pixels.max())
    # What becomes of a pixel hangs on its value alone: worked out once for each value.
    table = _shown(np.arange(darkest, brightest + 1), dataset)
    if kind == "MONOCHROME1":
        table = 255 - table
    grey_values: NDArray[np.uint8] = table[pixels.astype(np.int64) - darkest]
    return grey_values


def _shown(values: NDArray[np.int64], dataset: Dataset) -> NDArray[np.uint8]:
    """Return the grey values that pixel values are shown as, before MONOCHROME1's inversion.

    Modality LUT or rescale, then VOI LUT or the first window. Where there is neither, the bits
    that the film uses are shown, as of a PNG; or of values that are no counts, their range.
    """
    voi_bits = _as_sixteen_bits(dataset.get("VOILUTSequence"))
    _as_sixteen_bits(dataset.get("ModalityLUTSequence"))
    measured = apply_modality_lut(values, dataset)
    if np.array_equal(measured, np.rint(measured)):
        measured = measured.astype(np.int64)  # a VOI LUT is looked up by whole numbers
    low, high = float(measured.min()), float(measured.max())
    windowed = None not in (dataset.get("WindowCenter"), dataset.get("WindowWidth"))
    if voi_bits:
        low, high = 0.0, float(2**voi_bits - 1)
        shown = apply_voi_lut(measured, dataset)
    elif windowed:
        with np.errstate(over="ignore"):  # a sigmoid of what is far outside
            low, high = apply_voi_lut(np.array([-1e30, 1e30]), dataset).tolist()
        shown = apply_voi_lut(measured, dataset)
    else:
        shown = measured
        if low >= 0 and high < 2**16 and measured.dtype == np.int64:
            low, high = 0.0, float(2 ** used_bits(int(high)) - 1)
    share = (shown - low) / (high - low if high > low else 1.0)
    return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)


def _as_sixteen_bits(tables: Any) -> int:
    """Declare the first table's entries to have 16 bits; return how many they have, or 0.

    pydicom looks up in integers of the table's own depth: there are none of 12 bits, and those of
    8 do not count up to the end of a longer table.
    """
    if not tables:
        return 0
    length, first, bits = tables[0].LUTDescriptor
    tables[0].LUTDescriptor = [length, first, 16]
    return int(bits)


def _with_square_pixels(image: NDArray[np.uint8], dataset: Dataset, film: str) -> DicomFilm:
    """Add the spacing; where rows and columns differ, resample to the finer of the two.

    Angles between points are right in square pixels only, and one number is the spacing.
    """
    for source in _SPACINGS:
        pair = _positive_pair(dataset.get(source))  # rows first, then columns: PS3.3, 10.7.1.3
        if pair is not None:
            break
    else:
        ratio = _positive_pair(dataset.get("PixelAspectRatio")) or (1.0, 1.0)
        if abs(ratio[0] / ratio[1] - 1) > _SAME:
            raise InputError(
                f"film {film} has pixels of {ratio[0]:g} : {ratio[1]:g} and no spacing; export it"
                " with square pixels"
            )
        return DicomFilm(image, None, None, None)
    finer, longest = min(pair), max(pair) / min(pair)
    if longest - 1 < _SAME:
        return DicomFilm(image, sum(pair) / 2, source, None)
    if longest > _LONGEST:
        raise InputError(
            f"film {film} has pixels of {pair[1]:g} × {pair[0]:g} mm ({source}), which no scanner"
            " makes; correct the file, or export it as PNG"
        )
    height, width = image.shape
    size = (round(width * pair[1] / finer), round(height * pair[0] / finer))
    square = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return DicomFilm(square, finer, source, (width, height))


def _positive_pair(value: Any) -> tuple[float, float] | None:
    """Return two positive numbers, or nothing where a file has something else."""
    try:
        first, second = (float(number) for number in value)
    except (TypeError, ValueError):
        return None
    if not (np.isfinite([first, second]).all() and min(first, second) > 0):
        return None
    return first, second
