"""Films from bytes that anybody may have sent: limits and checks before they are decoded.

The size of a film is read from its header, so that a small file that would unpack to gigabytes
(a decompression bomb) is refused before it does. It knows no HTTP.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO

import pydicom
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from cephray.data import Original, decode_film
from cephray.data.dicom import is_dicom
from cephray.errors import InputError

KINDS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
"""Kinds of image files that are taken, as Pillow calls them, besides DICOM."""

_SMALLEST_PX = 32
_META_BEGIN = 132  # of a DICOM file: after 128 bytes, and "DICM"
_DAMAGED = (
    "the DICOM file is damaged or holds no picture; copy it again from its source, or export it as"
    " PNG"
)


class KindError(InputError):
    """Raised if a file is no film of a kind that is taken."""


class SizeError(InputError):
    """Raised if a film is too large, in bytes or in pixels."""


@dataclass(frozen=True)
class Limits:
    """What a server takes.

    Args:
        megabytes: size of a file, 10⁶ bytes.
        megapixels: size of a film, 10⁶ pixels.
        seconds: time for a request, from its first byte to the answer.
        waiting: number of films that are read or predicted at a time. More are refused.
    """

    megabytes: float = 100.0
    megapixels: float = 60.0
    seconds: float = 60.0
    waiting: int = 64


def film_of(content: bytes, limits: Limits) -> Original:
    """Read a film from the content of a file.

    Args:
        content: of the file.
        limits: of its size.

    Raises:
        KindError: it is no film of a known kind, or is damaged.
        SizeError: it is too large, or too small to be a film.
    """
    if not content:
        raise KindError("the film is empty (0 bytes); copy it again from its source")
    if len(content) > limits.megabytes * 1e6:
        raise SizeError(f"the film has more than {limits.megabytes:g} MB; save it in fewer pixels")
    if is_dicom(content):
        content = _inflated(content, limits)
        _require_size(_dicom_size(content), limits)
    else:
        _require_size(_image_size(content), limits)
    try:
        film = decode_film(content, "of a request")
    except InputError as error:
        raise KindError(str(error).replace("film of a request", "the film")) from None
    _require_size((film.image.shape[1], film.image.shape[0]), limits)
    return film


def _require_size(size_px: tuple[int, int], limits: Limits) -> None:
    width, height = size_px
    if width * height > limits.megapixels * 1e6:
        raise SizeError(
            f"the film has {width} × {height} pixels, and at most {limits.megapixels:g} million"
            " are taken; save it in fewer pixels"
        )
    if min(size_px) < _SMALLEST_PX:
        raise SizeError(
            f"the film has {width} × {height} pixels; give a whole film, of at least"
            f" {_SMALLEST_PX} × {_SMALLEST_PX}"
        )


def _image_size(content: bytes) -> tuple[int, int]:
    """Return (width, height) by the header of an image file."""
    try:
        with Image.open(BytesIO(content), formats=KINDS) as image:
            return image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise SizeError("the film has far too many pixels; save it in fewer pixels") from None
    except Exception:  # Pillow raises errors of any type for damaged files
        pass
    hint = ", but a zip archive: unpack it" if zipfile.is_zipfile(BytesIO(content)) else ""
    raise KindError(
        f"the file is no film{hint}; films are {', '.join(KINDS)} or DICOM files, and not damaged"
    )


def _dicom_size(content: bytes) -> tuple[int, int]:
    """Return (width, height) by the elements of a DICOM file."""
    try:
        elements = ["Rows", "Columns"]
        dataset = pydicom.dcmread(
            BytesIO(content), stop_before_pixels=True, specific_tags=elements
        )
        return int(dataset.Columns), int(dataset.Rows)
    except Exception:  # pydicom raises errors of any type for damaged files
        raise KindError(_DAMAGED) from None


def _inflated(content: bytes, limits: Limits) -> bytes:
    """Return the content of a DICOM file without compression as a whole (Deflated).

    pydicom would unpack such a file without a limit, before any of its elements is known. Here it
    may become no larger than a file that was sent so.
    """
    try:
        file = BytesIO(content)
        file.seek(_META_BEGIN)
        # The elements before the compressed ones, all of group 2.
        meta = pydicom.filereader.read_dataset(
            file, False, True, stop_when=lambda tag, *_: tag.group != 2
        )
        if meta.TransferSyntaxUID != DeflatedExplicitVRLittleEndian:
            return content
        most = int(limits.megabytes * 1e6)
        unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
        elements = unpacking.decompress(file.read(), most + 1)
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        plain = DicomBytesIO()
        plain.write(content[:_META_BEGIN])
        write_file_meta_info(plain, FileMetaDataset(meta), enforce_standard=False)
    except Exception:  # pydicom raises errors of any type for damaged files
        raise KindError(_DAMAGED) from None
    if len(elements) > most:
        raise SizeError(
            f"the DICOM file unpacks to more than {limits.megabytes:g} MB; export it in fewer"
            " pixels"
        )
    return plain.getvalue() + elements
