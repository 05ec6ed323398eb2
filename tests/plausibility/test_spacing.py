"""Tests the rule for impossible spacings with all sources, and corrections by magnification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cephray.cli.__main__ import main
from cephray.config import DataConfig, load_config
from cephray.data import Record, View, check_dataset, read_dataset, write_dataset
from cephray.data.films import load_film
from cephray.errors import InputError
from cephray.plausibility.spacing import spacing_fault
from tests.data.dicom.test_decode import film, ramp, read

HEIGHT_PX = 2400

FAULTS = {
    0.1: None,
    0.0417: None,  # 100 mm
    0.25: None,  # 600 mm
    0.2501: "600.24 mm high",
    0.04: "96 mm high",
    0.0: "not a positive number",
    -0.1: "not a positive number",
    float("nan"): "not a positive number",
    float("inf"): "not a positive number",
    100.0: "written in micrometres",
    0.0001: "written in metres",
    0.01: "written in centimetres",
    10.0: "24000 mm high",  # pixels per millimetre
}


@pytest.mark.parametrize("spacing_mm", FAULTS)
def test_films_must_be_100_to_600_mm_high(spacing_mm: float) -> None:
    expected, found = FAULTS[spacing_mm], spacing_fault(spacing_mm, HEIGHT_PX)
    assert found is None if expected is None else expected in str(found)


AT_THE_DETECTOR = {"ImagerPixelSpacing": [0.15, 0.15]}
FACTOR = "EstimatedRadiographicMagnificationFactor"
DISTANCES = {"DistanceSourceToDetector": 1650, "DistanceSourceToPatient": 1500}
RATIO = "ImagerPixelSpacing / (DistanceSourceToDetector / DistanceSourceToPatient)"

DICOM: dict[str, tuple[dict[str, Any], float | None, str | None, str]] = {
    "25 mm": ({"PixelSpacing": [25, 25]}, None, None, "PixelSpacing left out: a spacing of 25 mm"),
    "micrometres": ({"PixelSpacing": [150, 150]}, None, None, "written in micrometres"),
    "metres": ({"PixelSpacing": [0.00015, 0.00015]}, None, None, "written in metres"),
    "zero": ({"PixelSpacing": [0, 0]}, None, None, "not two positive numbers"),
    "negative": ({"PixelSpacing": [-0.15, -0.15]}, None, None, "not two positive numbers"),
    "one number": ({"PixelSpacing": "0.15"}, None, None, "not two positive numbers"),
    "nan": ({"PixelSpacing": [float("nan")] * 2}, None, None, "not two positive numbers"),
    "next": (
        {"PixelSpacing": [25, 25], "NominalScannedPixelSpacing": [0.1, 0.1]},
        0.1, "NominalScannedPixelSpacing", "PixelSpacing left out",
    ),
    "factor": (
        AT_THE_DETECTOR | {FACTOR: 1.1}, 0.15 / 1.1, f"ImagerPixelSpacing / {FACTOR}", "",
    ),
    "factor 1": (AT_THE_DETECTOR | {FACTOR: 1}, 0.15, f"ImagerPixelSpacing / {FACTOR}", ""),
    "distances": (AT_THE_DETECTOR | DISTANCES, 0.15 / 1.1, RATIO, ""),
    "factor 0, distances": (
        AT_THE_DETECTOR | {FACTOR: 0} | DISTANCES, 0.15 / 1.1, RATIO, "magnification of 0 is not",
    ),
    "no factor": (AT_THE_DETECTOR, 0.15, "ImagerPixelSpacing", "lengths in millimetres are too"),
    "factor -1": (
        AT_THE_DETECTOR | {FACTOR: -1}, 0.15, "ImagerPixelSpacing", "magnification of -1 is not",
    ),
    "factor 0.9": (AT_THE_DETECTOR | {FACTOR: 0.9}, 0.15, "ImagerPixelSpacing", "of 0.9 is not"),
    "factor 2": (AT_THE_DETECTOR | {FACTOR: 2}, 0.075, f"ImagerPixelSpacing / {FACTOR}", ""),
    "factor 2.1": (AT_THE_DETECTOR | {FACTOR: 2.1}, 0.15, "ImagerPixelSpacing", "of 2.1 is not"),
    "factor nan": (
        AT_THE_DETECTOR | {FACTOR: float("nan")}, 0.15, "ImagerPixelSpacing", "of nan is not",
    ),
    "factor 110": (AT_THE_DETECTOR | {FACTOR: 110}, 0.15, "ImagerPixelSpacing", "of 110 is not"),
    "at the source": (
        AT_THE_DETECTOR | DISTANCES | {"DistanceSourceToPatient": 0}, 0.15, "ImagerPixelSpacing",
        "magnification of inf is not",
    ),
    "too high at the detector only": (  # 624 mm there
        {"ImagerPixelSpacing": [0.39, 0.39], FACTOR: 1.1},
        0.39 / 1.1, f"ImagerPixelSpacing / {FACTOR}", "",
    ),
    "too low in the patient": (  # 104 mm at the detector
        {"ImagerPixelSpacing": [0.065, 0.065], FACTOR: 1.1},
        None, None, f"ImagerPixelSpacing / {FACTOR} left out: a spacing of 0.0590909 mm",
    ),
    "calibrated": (
        AT_THE_DETECTOR | {"PixelSpacing": [0.13, 0.13], FACTOR: 1.1}, 0.13, "PixelSpacing", "",
    ),
    "not calibrated": (
        AT_THE_DETECTOR | {"PixelSpacing": [0.15, 0.15], FACTOR: 1.1},
        0.15 / 1.1, f"PixelSpacing / {FACTOR}", "",
    ),
    "calibrated to the same": (
        AT_THE_DETECTOR
        | {"PixelSpacing": [0.15, 0.15], "PixelSpacingCalibrationType": "FIDUCIAL", FACTOR: 1.1},
        0.15, "PixelSpacing", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DICOM)
def test_the_spacing_of_a_dicom_film(tmp_path: Path, case: str) -> None:
    elements, spacing_mm, source, words = DICOM[case]
    found = read(film(ramp(1600), **elements), tmp_path)
    assert found.spacing_mm == (None if spacing_mm is None else pytest.approx(spacing_mm))
    assert found.spacing_source == source
    assert words in " ".join(found.notes)
    assert bool(found.notes) == bool(words)


def test_a_wrong_unit_does_not_change_the_shape_of_pixels(tmp_path: Path) -> None:
    found = read(film(ramp(800), PixelSpacing=[300, 150]), tmp_path)
    assert found.image.shape == (1600, 30)
    assert found.spacing_mm is None
    assert found.resampled_from_px == (30, 800)


@pytest.mark.parametrize("spacing_mm", [25.0, 0.001, 100.0])
def test_films_with_impossible_spacing_are_refused_in_training(
    tmp_path: Path, spacing_mm: float
) -> None:
    path = tmp_path / "film.png"
    path.write_bytes(cv2.imencode(".png", ramp())[1].tobytes())
    record = Record("film", path, np.full((19, 2), 5.0), spacing_mm, "train")
    with pytest.raises(InputError, match=r"film\.png: a spacing of .*correct data\.spacing_mm"):
        load_film(record, View(96, 64))


@pytest.mark.parametrize("value", ["25", "0.00001", "1000"])
@pytest.mark.parametrize("source", ["spacing.csv", "data.spacing_mm"])
def test_data_check_reports_an_impossible_spacing(tmp_path: Path, source: str, value: str) -> None:
    folder = tmp_path / "films"
    write_dataset(folder, 2, size_px=(96, 120))
    data = DataConfig()
    if source == "spacing.csv":
        lines = (folder / source).read_text().splitlines()
        (folder / source).write_text("\n".join([lines[0], f"001,{value}", lines[2]]))
    else:
        data = DataConfig(spacing_mm=float(value))
    found = check_dataset(folder, data)
    assert found.unusable == (["001"] if source == "spacing.csv" else ["001", "002"])
    assert "a spacing of" in found.faults[0].message
    assert len(read_dataset(folder, "all", data)) == 2


@pytest.mark.parametrize("value", ["0", "-0.1", "nan", "inf"])
def test_invalid_spacings_in_configuration_and_table_are_refused(
    tmp_path: Path, value: str
) -> None:
    with pytest.raises(InputError, match=r"data\.spacing_mm"):
        load_config(overrides=[f"data.spacing_mm=.{value}" if "n" in value else
                               f"data.spacing_mm={value}"])  # fmt: skip
    write_dataset(tmp_path, 2, size_px=(96, 120))
    (tmp_path / "spacing.csv").write_text(f"film,spacing_mm\n001,{value}\n002,0.1\n")
    with pytest.raises(InputError, match="must be a positive number of millimetres per pixel"):
        read_dataset(tmp_path, "all", DataConfig())


@pytest.mark.parametrize("value", ["0", "-0.1", "nan", "inf", "-inf", "0.1mm"])
def test_invalid_spacings_are_refused_by_predict(
    capsys: pytest.CaptureFixture[str], value: str
) -> None:
    try:
        code = main(["predict", f"--spacing={value}", "film.png"])
    except SystemExit as ended:  # raised by the parser
        code = int(str(ended.code))
    assert code == 2
    assert "--spacing" in capsys.readouterr().err
