"""The Python way to predict: the same results as the command line, whatever form a film has."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import cephray
from cephray.checkpoint import Checkpoint
from cephray.cli.__main__ import main
from cephray.data import write_dataset
from cephray.errors import InputError
from cephray.prediction import FilmResult, Predictor
from tests.data.dicom.test_decode import film as dicom_film
from tests.prediction.folders import assert_alike
from tests.tiny import use_tiny_backbones

pytestmark = pytest.mark.usefixtures("tiny_backbones")
rng = np.random.default_rng(0)


def read(path: Path, how: int = cv2.IMREAD_GRAYSCALE) -> NDArray[np.uint8]:
    return np.asarray(cv2.imread(str(path), how), np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Draw a film, and write it in several formats."""
    folder = tmp_path_factory.mktemp("formats")
    write_dataset(folder / "drawn", 2, size_px=(192, 240))
    [first, second] = sorted((folder / "drawn").rglob("*.png"))
    grey = read(first)
    assert cv2.imwrite(str(folder / "deep.tiff"), grey.astype(np.uint16) * 257)
    assert cv2.imwrite(str(folder / "colour.png"), cv2.merge([grey, grey, grey]))
    dicom = dicom_film(grey, PixelSpacing=[0.9, 0.9])
    dicom.save_as(folder / "digital.dcm", enforce_file_format=True)
    written = [folder / name for name in ("deep.tiff", "colour.png", "digital.dcm")]
    return [path.rename(folder / path.name) for path in (first, second, *written)]


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Checkpoint) -> Checkpoint:
    return tiny_checkpoint


@pytest.fixture(scope="module")
def predictor(checkpoint: Checkpoint) -> Predictor:
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_backbones(patch)
        return cephray.load(checkpoint.folder, overrides=["inference.confidence=[0.5, 1.5]"])


def test_results_are_those_of_the_command(
    files: list[Path], checkpoint: Checkpoint, predictor: Predictor, tmp_path: Path
) -> None:
    """Alone and in company, and so are the pictures."""
    command = [
        "predict", "--checkpoint", str(checkpoint.folder), "--set",
        "inference.confidence=[0.5, 1.5]", "--spacing", "1.0", "--output", str(tmp_path),
    ]  # fmt: skip
    assert main([*command, *map(str, files)]) == 0
    together = predictor.predict(files, spacing_mm=1.0)
    assert isinstance(together, list)
    for path, found in zip(files, together, strict=True):
        written = json.loads((tmp_path / f"{path.stem}.json").read_text())
        assert_alike(json.loads(json.dumps(found.to_dict())), written)
        picture = read(tmp_path / f"{path.stem}.png", cv2.IMREAD_COLOR)
        assert (found.draw() != picture[..., ::-1]).any(axis=-1).mean() < 1e-3
        alone = predictor.predict(path, spacing_mm=1.0)
        assert_alike(alone.to_dict(), found.to_dict())
    assert together[4].spacing_mm == 0.9  # the film's own comes first


def test_an_array_is_the_film_that_its_file_holds(files: list[Path], predictor: Predictor) -> None:
    grey = read(files[0])
    expected = predictor.predict(str(files[0]), spacing_mm=1.0)
    forms = [
        grey,
        np.asfortranarray(grey),
        grey.astype(np.uint16) * 257,
        grey / 255,
        (grey / 255).astype(np.float32),
        np.stack([grey] * 3, axis=-1),
        np.stack([grey / 255] * 3, axis=-1),
        cephray.read_film(files[0]),
    ]
    for found in predictor.predict(forms, spacing_mm=[1.0] * len(forms)):
        np.testing.assert_allclose(found.points_px, expected.points_px, rtol=1e-4, atol=0.01)
        assert found.size_px == (192, 240)
        assert_alike(found.to_dict()["landmarks"], expected.to_dict()["landmarks"])
        assert_alike(found.measurements(), expected.measurements())


def test_what_a_result_has(files: list[Path], predictor: Predictor) -> None:
    found = predictor.predict(files[1])
    assert found.names == predictor.names
    assert found.names[:2] == ("Sella", "Nasion")
    assert found.points_px.shape == (19, 2)
    assert found.spread_px is not None
    assert found.spread_px.shape == (19,)
    assert found.confidence is not None
    assert np.isnan(found.confidence).all()  # within 2 mm: of an unknown spacing
    assert found.spacing_mm is None
    with_spacing = predictor.predict(files[1], spacing_mm=1.0)
    assert with_spacing.confidence is not None
    assert ((with_spacing.confidence > 0) & (with_spacing.confidence < 1)).all()
    overjet = {m["name"]: m for m in found.measurements()}["MW"]
    assert overjet["value"] is None
    assert len(found.measurements()) == 8
    picture = found.draw(height=480)
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (384, 3)
    assert picture.shape[0] >= 480  # more, with a strip of warnings


def test_colour_is_red_green_blue(predictor: Predictor) -> None:
    film = rng.integers(0, 256, (240, 192, 3), np.uint8)
    luminance = np.rint(film @ np.array([0.299, 0.587, 0.114]))
    assert np.abs(predictor.predict(film).image - luminance).max() <= 1


def test_an_impossible_spacing_is_left_out_with_a_note(predictor: Predictor) -> None:
    found = predictor.predict(np.zeros((240, 192), np.uint8), spacing_mm=25)
    assert found.spacing_mm is None
    assert "25 mm per pixel makes a film of 240 pixels" in found.notes[0]
    assert "the film has hardly any contrast" in found.doubtful


GREY = np.zeros((24, 20), np.uint8)
BAD: dict[str, tuple[Any, Any, str]] = {
    "one dimension": (np.zeros(20), None, r"must have shape \[H, W\].*got \[20\]"),
    "four channels": (np.zeros((24, 20, 4), np.uint8), None, r"got \[24, 20, 4\]"),
    "a batch": (np.zeros((1, 24, 20, 3), np.uint8), None, r"got \[1, 24, 20, 3\]"),
    "no rows": (np.zeros((0, 20), np.uint8), None, r"1 to 32767 rows and columns; got \[0, 20\]"),
    "too wide": (np.zeros((1, 40000), np.uint8), None, r"got \[1, 40000\]"),
    "integers": (np.zeros((24, 20), int), None, "must be uint8, uint16, or floating.*got int64"),
    "truth values": (np.zeros((24, 20), bool), None, "got bool"),
    "too bright": (np.full((24, 20), 200.0), None, r"must lie in \[0, 1\]; got 200 to 200"),
    "negative": (np.full((24, 20), -0.1), None, r"got -0.1 to -0.1"),
    "NaN": (np.full((24, 20), np.nan), None, "must be finite"),
    "a number": (3, None, "must be a NumPy array, a path, .*got int"),
    "None": (None, None, "got NoneType"),
    "no file": ("no/such.png", None, "film no/such.png does not exist"),
    "a folder": (".", None, "is a folder; give an image file"),
    "spacing 0": (GREY, 0, "millimetres per pixel, above 0; got 0"),
    "spacing below 0": (GREY, -0.1, "above 0; got -0.1"),
    "spacing NaN": (GREY, math.nan, "above 0; got nan"),
    "spacing as text": (GREY, "0.1", "must be a number, None, or .*got '0.1'"),
    "spacings of one film": (GREY, [0.1], r"must be a number, None, or .*got \[0.1\]"),
    "spacings of too few films": ([GREY, GREY], [0.1], "has 1 entries for 2 films"),
    "second of a list": ([GREY, np.zeros(3)], None, r"image\[1\]: a film must have shape"),
    "spacing of the second": ([GREY, GREY], [1, -1], r"image\[1\]: spacing_mm must be"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_is_named_in_a_sentence(case: str, predictor: Predictor) -> None:
    image, spacing_mm, words = BAD[case]
    with pytest.raises(InputError, match=words) as caught:
        predictor.predict(image, spacing_mm)
    assert "\n" not in str(caught.value)


def test_no_films_have_no_results(predictor: Predictor) -> None:
    assert predictor.predict([]) == []


def test_an_ensemble_and_a_run_are_loaded(checkpoint: Checkpoint, files: list[Path]) -> None:
    folder = Path(str(checkpoint.folder))
    one = cephray.load(str(folder.parent)).predict(files[0])  # the run's output folder
    two = cephray.load([folder, str(folder)]).predict(files[0])
    assert isinstance(one, FilmResult)
    np.testing.assert_allclose(one.points_px, two.points_px, atol=1e-3)


@pytest.mark.parametrize(
    ("checkpoint", "overrides", "words"),
    [
        ("no/such", (), "no/such: no such folder"),
        ([], (), "checkpoint is an empty list"),
        (None, ["inference.loks=2"], "inference.loks"),
        (None, ["model.backbone=vgg16"], "model.backbone"),
    ],
)
def test_what_cannot_be_loaded(checkpoint: Any, overrides: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        cephray.load(checkpoint, overrides)


@pytest.mark.parametrize("imported", [False, True])
def test_another_backend_of_keras_is_refused(imported: bool) -> None:
    code = ("import keras\n" if imported else "") + "import cephray\ncephray.load()"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={"KERAS_BACKEND": "jax", "PATH": "/usr/bin"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    said = ended.stderr.strip().splitlines()[-1]
    assert said.startswith(
        "cephray.errors.InputError: Keras's backend is 'jax'; cephray trains and"
    )
    assert "KERAS_BACKEND=tensorflow" in said


def test_three_lines_are_quiet_and_need_no_setting(files: list[Path]) -> None:
    code = (
        "import cephray\n"
        f"found = cephray.load().predict({str(files[0])!r}, spacing_mm=1.0)\n"
        "print(found.points_px.shape)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env={"PATH": "/usr/bin"}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "(19, 2)\n", "")
