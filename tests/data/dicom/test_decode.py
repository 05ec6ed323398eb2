"""Tests decoding of DICOM files: grey values, spacings, compressions, and damaged files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
    generate_uid,
)

from cephray.data.films import Original, read_film
from cephray.errors import InputError


def film(pixels: NDArray[Any], **elements: Any) -> Dataset:
    """Make a DICOM film from grey values [H, W] or colours [H, W, 3]."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = generate_uid()
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def read(dataset: Dataset, folder: Path, name: str = "film.dcm") -> Original:
    dataset.save_as(folder / name, enforce_file_format=True)
    return read_film(folder / name)


def refused(dataset: Dataset, folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(dataset, folder)
    return str(caught.value)


def ramp(height: int = 40, width: int = 30) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    image: NDArray[np.uint8] = (2 * x + 3 * y).astype(np.uint8)
    return image


def lookup(bits: int, first: int, entries: NDArray[np.uint16]) -> list[Dataset]:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.LUTData = entries.tobytes()
    item["LUTData"].VR = "OW"
    item.ModalityLUTType = "US"
    return [item]


def test_eight_bits_are_read_unchanged(tmp_path: Path) -> None:
    found = read(film(ramp()), tmp_path)
    assert found.image.dtype == np.uint8
    np.testing.assert_array_equal(found.image, ramp())
    assert (found.spacing_mm, found.spacing_source, found.resampled_from_px) == (None, None, None)


@pytest.mark.parametrize("name", ["film", "1.2.840.113619.55", "film.jpg"])
def test_dicom_is_recognised_by_its_content(tmp_path: Path, name: str) -> None:
    np.testing.assert_array_equal(read(film(ramp()), tmp_path, name).image, ramp())


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_without_a_window_the_bits_in_use_are_shown(tmp_path: Path, bits: int) -> None:
    wide = ramp().astype(np.uint16) << (bits - 8)
    image = read(film(wide), tmp_path).image
    np.testing.assert_allclose(image.astype(int), ramp(), atol=1)


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    inverse = {"PhotometricInterpretation": "MONOCHROME1"}
    np.testing.assert_array_equal(read(film(ramp(), **inverse), tmp_path).image, 255 - ramp())
    wide = ramp().astype(np.uint16) << 4
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    image = read(film(wide, **inverse, **window, BitsStored=12, HighBit=11), tmp_path).image
    np.testing.assert_allclose(image.astype(int), 255 - ramp().astype(int), atol=1)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_first_window_is_applied_to_rescaled_values(tmp_path: Path, function: str) -> None:
    """By PS3.3, C.11.2.1.2 and C.11.2.1.3, with the output from 0 to 255."""
    stored = (ramp().astype(np.int16) - 100) * 8
    elements = {
        "RescaleSlope": 2, "RescaleIntercept": 300, "VOILUTFunction": function,
        "WindowCenter": [600, 0], "WindowWidth": [1000, 1],
    }  # fmt: skip
    value = stored * 2.0 + 300
    expected = {
        "LINEAR": (value - 599.5) / 999 + 0.5,
        "LINEAR_EXACT": (value - 600) / 1000 + 0.5,
        "SIGMOID": 1 / (1 + np.exp(-4 * (value - 600) / 1000)),
    }[function]
    image = read(film(stored, **elements), tmp_path).image
    np.testing.assert_allclose(image, 255 * np.clip(expected, 0, 1), atol=0.51)
    if function != "SIGMOID":
        assert (image == 0).any()
        assert (image == 255).any()


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("rescaled", [False, True])
def test_a_voi_table_is_applied(tmp_path: Path, bits: int, rescaled: bool) -> None:
    """The table inverts 12-bit pixels, and its first entry belongs to pixel value 100."""
    stored = ramp().astype(np.uint16) * 8
    entries = np.linspace(2**bits - 1, 0, 2048).astype(np.uint16)
    elements: dict[str, Any] = {"VOILUTSequence": lookup(bits, 100, entries)}
    if rescaled:
        elements |= {"RescaleSlope": 1, "RescaleIntercept": 0}
    image = read(film(stored, BitsStored=12, HighBit=11, **elements), tmp_path).image
    place = np.clip(stored.astype(int) - 100, 0, 2047)
    np.testing.assert_allclose(image, 255.0 * entries[place] / (2**bits - 1), atol=0.51)


@pytest.mark.parametrize("bits", [12, 16])
def test_a_modality_table_is_applied_before_the_window(tmp_path: Path, bits: int) -> None:
    entries = np.arange(4096, dtype=np.uint16)[::-1].copy()
    stored = ramp().astype(np.uint16) << 4
    elements = {
        "ModalityLUTSequence": lookup(bits, 0, entries),
        "WindowCenter": 2048, "WindowWidth": 4096, "BitsStored": 12, "HighBit": 11,
    }  # fmt: skip
    image = read(film(stored, **elements), tmp_path).image
    np.testing.assert_allclose(image.astype(int), 255 - ramp().astype(int), atol=1)


def test_negative_and_fractional_values_are_scaled_by_their_range(tmp_path: Path) -> None:
    stored = ramp().astype(np.int16) - 50
    image = read(film(stored, RescaleSlope=0.25, RescaleIntercept=-10), tmp_path).image
    np.testing.assert_allclose(image, 255.0 * ramp() / ramp().max(), atol=0.51)
    flat = np.full((40, 30), -7, np.int16)
    assert read(film(flat), tmp_path).image.max() == 0


def test_colours_are_converted_to_luminance(tmp_path: Path) -> None:
    colours = np.full((4, 5, 3), (60, 200, 10), np.uint8)
    image = read(film(colours), tmp_path).image
    np.testing.assert_allclose(image, 0.299 * 60 + 0.587 * 200 + 0.114 * 10, atol=1)


@pytest.mark.parametrize(
    ("elements", "spacing_mm", "source"),
    [
        ({"ImagerPixelSpacing": [0.15, 0.15]}, 0.15, "ImagerPixelSpacing"),
        ({"NominalScannedPixelSpacing": [0.1, 0.1]}, 0.1, "NominalScannedPixelSpacing"),
        ({"PixelSpacing": [0.13, 0.13], "ImagerPixelSpacing": [0.15, 0.15]}, 0.13, "PixelSpacing"),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.15, 0.15]}, 0.15, "ImagerPixelSpacing"),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.15, 0.15]}, 0.15, "ImagerPixelSpacing"),
        ({"PixelSpacing": [0.1, 0.100001]}, 0.1000005, "PixelSpacing"),
        ({"PixelSpacing": "0.1"}, None, None),
    ],
)
def test_the_calibrated_spacing_takes_precedence(
    tmp_path: Path, elements: dict[str, Any], spacing_mm: float | None, source: str | None
) -> None:
    found = read(film(ramp(1600), **elements), tmp_path)
    assert found.spacing_mm == (None if spacing_mm is None else pytest.approx(spacing_mm))
    assert found.spacing_source == source
    assert found.image.shape == (1600, 30)


def test_oblong_pixels_are_resampled_to_squares(tmp_path: Path) -> None:
    """A disc of 200 mm on pixels twice as high as wide becomes a disc of 100 pixels."""
    y, x = np.mgrid[:100, :200]
    disc = np.hypot((y - 49.5) * 4, (x - 99.5) * 2) < 100
    found = read(film(disc.astype(np.uint8) * 200, PixelSpacing=[4, 2]), tmp_path)
    assert found.image.shape == (200, 200)
    assert (found.spacing_mm, found.spacing_source) == (2, "PixelSpacing")
    assert found.resampled_from_px == (200, 100)
    rows, columns = np.nonzero(found.image > 100)
    assert np.ptp(rows) + 1 == pytest.approx(100, abs=2)
    assert np.ptp(columns) + 1 == pytest.approx(100, abs=2)
    assert "pixels of 0.1 × 1 mm" in refused(film(ramp(), PixelSpacing=[1, 0.1]), tmp_path)
    found = read(film(ramp(), PixelAspectRatio=[2, 1]), tmp_path)
    assert (found.image.shape, found.spacing_mm) == ((80, 30), None)


def test_both_sides_of_oblong_pixels_are_corrected_for_magnification(tmp_path: Path) -> None:
    """Pixels of 2.5 × 1.25 mm at the detector are 2 × 1 mm in the patient."""
    dataset = film(
        np.full((100, 300), 90, np.uint8) + np.arange(300, dtype=np.uint8) // 4,
        ImagerPixelSpacing=[2.5, 1.25],
        EstimatedRadiographicMagnificationFactor=1.25,
    )
    found = read(dataset, tmp_path)
    assert found.image.shape == (200, 300)
    assert found.spacing_mm == pytest.approx(1)
    assert found.resampled_from_px == (300, 100)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGBaseline8Bit])
def test_usual_compressions_are_decoded(tmp_path: Path, syntax: UID) -> None:
    dataset = film(ramp())
    if syntax == RLELossless:
        dataset.compress(syntax)
    else:
        stream = BytesIO()
        kind = {JPEG2000Lossless: "JPEG2000", JPEGBaseline8Bit: "JPEG"}[syntax]
        Image.fromarray(ramp()).save(stream, kind)
        dataset.PixelData = encapsulate([stream.getvalue()])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = syntax
    image = read(dataset, tmp_path).image
    np.testing.assert_allclose(
        image.astype(int), ramp(), atol=4 if syntax == JPEGBaseline8Bit else 0
    )


def test_unsupported_compressions_name_their_decoder(tmp_path: Path) -> None:
    dataset = film(ramp())
    dataset.PixelData = encapsulate([b"\xff\xd8\xff"])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    line = refused(dataset, tmp_path)
    assert "compressed as JPEG Lossless" in line
    assert "pip install pylibjpeg pylibjpeg-libjpeg, or export it uncompressed" in line


def test_files_without_a_single_image_are_refused(tmp_path: Path) -> None:
    report = film(ramp())
    del report.PixelData
    assert "contains no pixel data" in refused(report, tmp_path)
    cine = film(ramp(), NumberOfFrames=2)
    cine.PixelData = 2 * ramp().tobytes()
    assert "contains 2 frames" in refused(cine, tmp_path)
    assert "more than 16 bits" in refused(film(ramp().astype(np.uint32) << 20), tmp_path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "film.dcm"
    film(ramp(400, 300)).save_as(path, enforce_file_format=True)
    content = path.read_bytes()
    for fraction in (0.002, 0.1, 0.9):
        path.write_bytes(content[: int(len(content) * fraction)])
        with pytest.raises(InputError, match=r"film\.dcm"):
            read_film(path)
    path.write_bytes(content[:132] + b"\xa5" * 5000)
    with pytest.raises(InputError, match=r"film\.dcm .*copy it again|contains no pixel data"):
        read_film(path)


@pytest.mark.filterwarnings("ignore")
def test_the_test_files_of_pydicom_are_read_or_refused() -> None:
    """They were written by many programs. Refusals have one line."""
    folder = Path(str(get_testdata_file("CT_small.dcm"))).parent
    read, lines = 0, []
    for path in folder.glob("*.dcm"):
        try:
            read += read_film(path).image.ndim == 2
        except InputError as error:
            lines.append(str(error))
    assert read > 30
    assert all(str(folder) in line and "\n" not in line for line in lines)


def test_messages_do_not_identify_the_patient(tmp_path: Path) -> None:
    dataset = film(ramp(), PatientName="Doe^Jane", PatientID="4711", StudyDate="20200101")
    dataset.BitsAllocated = 9
    line = refused(dataset, tmp_path)
    assert dcmread(tmp_path / "film.dcm").PatientID == "4711"
    assert not {"Doe", "Jane", "4711", "20200101"} & set(line.replace("^", " ").split())


def test_dicom_and_png_files_of_a_film_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "film.png").write_bytes(cv2.imencode(".png", ramp())[1].tobytes())
    np.testing.assert_array_equal(
        read(film(ramp()), tmp_path).image, read_film(tmp_path / "film.png").image
    )
