"""Prediction of films in one process: what is written of each, and odd films and folders."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cephray.checkpoint import Checkpoint
from cephray.clinical import MEASUREMENTS, classify, measure
from cephray.data import FilmFile, Original, View, find_films, read_pixels
from cephray.drawing import draw_overlay
from cephray.errors import InputError, RunError, Stopped
from cephray.landmarks import ISBI2015
from cephray.prediction.detector import Detector
from cephray.prediction.files import require_own_output, write_results
from cephray.prediction.films import Outcome, Output, predict_here, read
from tests.data.dicom.test_decode import film as dicom_film
from tests.prediction.folders import assert_alike, assert_same_picture, contents

pytestmark = pytest.mark.usefixtures("tiny_backbones")


@pytest.fixture
def checkpoint(tiny_checkpoint: Checkpoint) -> Checkpoint:
    return tiny_checkpoint


def test_what_is_written_of_a_film(films: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Measurements are those of the landmarks; lines and confidence are there."""
    files = find_films([films / "a/003.png"])
    config = checkpoint.config
    inference = config.inference.model_copy(update={"confidence": (0.5, 1.5)})
    radii_px: dict[str, list[float]] = {}
    sure = replace(checkpoint, config=config.model_copy(update={"inference": inference}))
    for name, spacing_mm in (("unknown", None), ("known", 2.0)):
        outcomes = predict_here(Detector(sure), files, ISBI2015, spacing_mm)
        write_results(outcomes, files, tmp_path / name)
        facts = json.loads((tmp_path / name / "003.json").read_text())
        points_px = np.array([[point["x_px"], point["y_px"]] for point in facts["landmarks"]])
        values, classes = (f(points_px, spacing_mm) for f in (measure, classify))
        assert facts["doubtful"]  # the network was never trained
        classes = np.zeros_like(classes)
        found = facts["measurements"]
        assert [entry["name"] for entry in found] == [m.name for m in MEASUREMENTS]
        assert [entry["class"] for entry in found] == classes.tolist()
        assert [entry["meaning"] for entry in found] == [
            measurement.meaning(number)
            for measurement, number in zip(MEASUREMENTS, classes, strict=True)
        ]
        known = [np.nan if entry["value"] is None else entry["value"] for entry in found]
        # Landmarks are written to a hundredth of a pixel.
        np.testing.assert_allclose(known, values, rtol=0.02, atol=0.2)
        table = list(csv.reader((tmp_path / name / "measurements.csv").read_text().splitlines()))
        assert len(table) == 2
        assert table[0][:5] == ["film", "ANB_degree", "ANB_sd", "ANB_class", "ANB_meaning"]
        assert table[1][0] == "003"
        assert table[1][2:4] == [str(found[0]["sd"]), str(found[0]["class"])]
        assert [entry["class_probability"] for entry in found] == [None] * 8
        assert all((entry["sd"] is None) == (entry["value"] is None) for entry in found)
        assert (found[-1]["value"] is None) == (spacing_mm is None)
        confidences = [point["confidence"] for point in facts["landmarks"]]
        assert all(0 <= p < 1 if spacing_mm else p is None for p in confidences)
        radii_px[name] = [point["radius_95_px"] for point in facts["landmarks"]]
        rows = list(csv.reader((tmp_path / name / "landmarks.csv").read_text().splitlines()))
        assert rows[0] == [
            "film", "landmark", "x_px", "y_px", "confidence", "radius_95_px", "doubtful",
        ]  # fmt: skip
        assert rows[1][6] == "; ".join(facts["doubtful"])
        assert rows[1][4] == (str(confidences[0]) if spacing_mm else "")
        drawn = np.asarray(cv2.imread(str(tmp_path / name / "003.png")))[-1200:]
        plain = draw_overlay(read_pixels(files[0].path), points_px, ISBI2015.abbreviations)
        lined = draw_overlay(
            read_pixels(files[0].path), points_px, ISBI2015.abbreviations, lines=ISBI2015.lines
        )
        assert not np.array_equal(drawn, plain)
        assert np.mean(drawn != lined) < 0.01
    assert radii_px["known"] == radii_px["unknown"]
    assert min(radii_px["known"]) > 0


def test_the_company_of_a_film_changes_nothing(films: Path, checkpoint: Checkpoint) -> None:
    files = find_films([films / "a"])[:7]
    detector = Detector(checkpoint)
    together = dict(predict_here(detector, files, ISBI2015))
    for number, file in enumerate(files):
        alone = dict(predict_here(detector, [file], ISBI2015))[0]
        expected = together[number]
        assert isinstance(alone, Output)
        assert isinstance(expected, Output)
        assert_alike(alone.facts, expected.facts)
        assert_same_picture(alone.picture, expected.picture)


def test_the_film_knows_best_how_large_it_is(tmp_path: Path, checkpoint: Checkpoint) -> None:
    y, x = np.mgrid[:120, :96]
    image = (x + y).astype(np.uint8)
    folder = tmp_path / "films"
    folder.mkdir()
    dicom_film(image, ImagerPixelSpacing=[2, 2]).save_as(
        folder / "own.dcm", enforce_file_format=True
    )
    dicom_film(image, PixelSpacing=[2, 1], PatientName="Doe^Jane").save_as(
        folder / "oblong.dcm", enforce_file_format=True
    )
    (folder / "none.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    files = find_films([folder])
    detector = Detector(checkpoint)
    for given, expected, told in (
        (3.0, 3.0, "1 by --spacing"),
        (25.0, None, "1 unknown (--spacing is impossible for them)"),
        (None, None, "1 unknown (--spacing MM gives it)"),
    ):
        output = tmp_path / f"out{given}"
        summary = write_results(predict_here(detector, files, ISBI2015, given), files, output)
        facts = {path.stem: json.loads(path.read_text()) for path in output.glob("*.json")}
        assert facts["none"]["spacing_mm"] == expected
        assert facts["own"]["spacing_mm"] == 2
        assert facts["oblong"]["spacing_mm"] == 1
        assert facts["oblong"]["size_px"] == [96, 240]
        assert facts["oblong"]["resampled_from_px"] == [96, 120]
        assert facts["own"]["landmarks"] == facts["none"]["landmarks"]
        assert "1 by their ImagerPixelSpacing" in str(summary)
        assert bool(facts["none"]["notes"]) == (given == 25)
        assert told in str(summary)
    assert not any(b"Doe" in content for content in contents(tmp_path / "out3.0").values())


def test_one_odd_film_does_not_end_the_others(
    monkeypatch: pytest.MonkeyPatch, films: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    def odd(path: Path) -> Original:
        raise MemoryError("900 GB")

    with monkeypatch.context() as patch:
        patch.setattr("cephray.prediction.films.read_film", odd)
        error = read(0, FilmFile("x", Path("x.png")), View(96, 64), 19, None)
    assert isinstance(error, InputError)
    assert "x.png cannot be read (MemoryError: 900 GB)" in str(error)

    thread = tmp_path / "thread.png"
    thread.write_bytes(cv2.imencode(".png", np.zeros((9000, 3), np.uint8))[1].tobytes())
    files = [*find_films([films / "a"])[:1], FilmFile("thread", thread)]
    found = dict(predict_here(Detector(checkpoint), files, ISBI2015))
    assert isinstance(found[0], Output)
    assert "3 × 9000 pixels cannot be drawn" in str(found[1])


def test_results_never_overwrite_a_film(films: Path, tmp_path: Path) -> None:
    files = find_films([films])
    with pytest.raises(InputError, match=r"would overwrite film .*a/000.png; give another"):
        require_own_output(films, files)
    require_own_output(films / "a", files)  # as a/a and a/b
    require_own_output(tmp_path / "new/folder", files)
    with pytest.raises(InputError, match="is a file; give a folder"):
        require_own_output(films / "a/000.png" / "out", files)


EARLIER: dict[str, tuple[str, str, str]] = {  # in the output: a folder, a file, the words
    "a table": ("landmarks.csv", "", "landmarks.csv is a folder"),
    "the other table": ("measurements.csv", "", "measurements.csv is a folder"),
    "a picture": ("a/000.png", "", "000.png is a folder"),
    "facts": ("a/000.json", "", "000.json is a folder"),
    "a sub-folder": ("", "a", "a is a file, and a folder of results"),
    "a sub-folder above": ("", "deep", "deep is a file, and a folder of results"),
}


@pytest.mark.parametrize("case", EARLIER)
def test_what_stands_in_the_way_of_results_is_told_before_the_work(
    tmp_path: Path, case: str
) -> None:
    folder, file, words = EARLIER[case]
    output = tmp_path / "out"
    (output / folder).mkdir(parents=True)
    if file:
        (output / file).touch()
    files = [FilmFile(name, tmp_path / "film.png") for name in ("a/000", "deep/below/b")]
    with pytest.raises(InputError, match=f"{words}.*give another folder"):
        require_own_output(output, files)


def test_a_link_in_the_output_does_not_lead_results_to_a_film(tmp_path: Path) -> None:
    film = tmp_path / "film.png"
    film.touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/film.png").symlink_to(film)
    with pytest.raises(InputError, match=r"would overwrite film .*film\.png"):
        require_own_output(tmp_path / "out", [FilmFile("film", film)])


def test_a_full_disk_is_one_line(films: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    files = find_films([films / "a/000.png"])
    (tmp_path / "out/000.png").mkdir(parents=True)
    with pytest.raises(RunError, match=r"results .*000\.\* could not be written"):
        write_results(predict_here(Detector(checkpoint), files, ISBI2015), files, tmp_path / "out")


def test_a_stop_leaves_whole_results_and_their_table(
    films: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    files = find_films([films / "a"])

    def stopped() -> Iterator[Outcome]:
        found = predict_here(Detector(checkpoint), files, ISBI2015)
        yield from (next(found), next(found))
        raise Stopped(signal.SIGTERM, "stopped by SIGTERM at once")

    with pytest.raises(Stopped, match=f"at once; 2 of {len(files)} films have their results in"):
        write_results(stopped(), files, tmp_path)
    assert len((tmp_path / "landmarks.csv").read_text().splitlines()) == 1 + 2 * len(ISBI2015)


def test_burnt_in_text_is_in_no_picture(checkpoint: Checkpoint, tmp_path: Path) -> None:
    image = np.full((240, 192), 90, np.uint8)
    image[60:200, 40:160] = 140
    plain = image.copy()
    image[4:16, 3:15] = 255
    for name, pixels in (("named", image), ("plain", plain)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    found = {}
    for name in ("named", "plain"):
        files = find_films([tmp_path / f"{name}.png"])
        outcome = dict(predict_here(Detector(checkpoint), files, ISBI2015, None, 10.0))[0]
        assert isinstance(outcome, Output)
        assert outcome.facts["notes"] == ["corners of 10 % blanked"]
        found[name] = outcome
    assert found["named"].facts["landmarks"] == found["plain"].facts["landmarks"]
    assert found["named"].picture == found["plain"].picture
