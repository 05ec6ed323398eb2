"""Files that are no films, or are made to harm whoever opens them."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from tests.serving.server import draw

FILM, _ = draw(0)


def png(width: int, height: int, rows: int = 1) -> bytes:
    """A PNG file that says it has so many pixels, and holds so many rows of zeros."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    content = zlib.compress(bytes((width + 1) * rows), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content)
        + chunk(b"IEND", b"")
    )  # fmt: skip


def dicom(
    rows: int,
    columns: int,
    syntax: str = ExplicitVRLittleEndian,
    pixels: int = 64,
    **elements: Any,
) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    meta.MediaStorageSOPClassUID = pydicom.uid.UID("1.2.840.10008.5.1.4.1.1.1")
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID("1.2.3")
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 7, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PatientName = "Secret^Name"
    dataset.PixelData = bytes(range(256)) * (pixels // 256) + bytes(pixels % 256)
    for name, value in elements.items():
        setattr(dataset, name, value)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def deflated(rows: int, columns: int, pixels: int = 64, **elements: Any) -> bytes:
    return dicom(rows, columns, DeflatedExplicitVRLittleEndian, pixels, **elements)


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as writing:
        writing.writestr("../../film.png", bytes(10_000_000))
    return file.getvalue()


def image(kind: str, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros(size[::-1], np.uint8)).save(file, kind)
    return file.getvalue()


JPEG = image("JPEG", (64, 64))

# name: (content, status, words of the answer)
HOSTILE: dict[str, tuple[bytes, int, str]] = {
    "empty.png": (b"", 415, "empty"),
    "text.png": (b"not a film at all", 415, "no film"),
    "page.html": (b"<html><script>alert(1)</script></html>", 415, "no film"),
    "drawing.svg": (
        b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        415,
        "no film",
    ),
    "program": (b"\x7fELF" + bytes(200), 415, "no film"),
    "archive.zip": (archive(), 415, "zip archive: unpack"),
    "animation.gif": (image("GIF", (64, 64)), 415, "no film"),
    "vector.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", 415, "no film"),
    "bomb.png": (png(50_000, 50_000), 413, "pixels"),
    "wide.png": (png(2**31 - 1, 1), 413, "pixels"),
    "much.png": (png(8_000, 8_000, 8_000), 413, "million are taken"),
    "half.png": (FILM[: len(FILM) // 2], 415, "cut off"),
    "damaged.png": (FILM[:40] + bytes(60) + FILM[100:], 415, "film"),
    "half.jpg": (JPEG[: len(JPEG) // 2], 415, "film"),
    "tiny.png": (png(8, 8, 8), 413, "whole film"),
    "big.jpg": (JPEG.replace(b"\x00\x40\x00\x40", b"\xff\xff\xff\xff", 1), 413, "pixels"),
    "bomb.dcm": (dicom(60_000, 60_000), 413, "pixels"),
    "deflated-bomb.dcm": (deflated(60_000, 60_000), 413, "pixels"),
    "deflated-much.dcm": (deflated(64, 64, pixels=8_000_000), 413, "unpacks to more than 5 MB"),
    "deflated-half.dcm": (deflated(640, 640, pixels=640 * 640)[:-300], 415, "DICOM"),
    "deflated-broken.dcm": (deflated(64, 64)[:420] + bytes(100), 415, "DICOM"),
    "short.dcm": (dicom(640, 640, pixels=64), 415, "DICOM"),
    "broken.dcm": (bytes(128) + b"DICM" + bytes(range(256)), 415, "DICOM"),
    "../../../etc/cron.d/film.png": (b"* * * * * root true", 415, "no film"),
    "large.png": (bytes(6_000_000), 413, "MB"),
}
LIMIT_MB = 5.0
