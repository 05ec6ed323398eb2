"""Tests measurements against complex numbers and by hand, and classes on the challenge's films."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cephray import geometry
from cephray.clinical.measures import LANDMARKS, MEASUREMENTS, classify, measure, round_landmarks
from cephray.clinical.upright import upright
from cephray.config import DataConfig
from cephray.data import read_dataset
from cephray.data.convert.text import parse_text
from cephray.errors import InputError
from cephray.landmarks import ISBI2015, Landmark, LandmarkSet

NAMES = [measurement.name for measurement in MEASUREMENTS]

# Landmarks of a head as x + iy, with y down. The Frankfort horizontal and the palatal plane are
# horizontal, the facial line and the A–B line vertical.
HEAD = dict.fromkeys(ISBI2015.abbreviations, 0j) | {
    "S": 800 + 800j, "N": 1500 + 800j, "Or": 1400 + 1000j, "Po": 700 + 1000j,
    "A": 1450 + 1400j, "B": 1450 + 1900j, "Pog": 1500 + 2100j, "Me": 1500 + 1800j,
    "Gn": 1450 + 2150j, "Go": 800 + 1500j, "LI": 1530 + 1650j, "UI": 1560 + 1650j,
    "PNS": 950 + 1300j, "ANS": 1450 + 1300j,
}  # fmt: skip


def film(head: dict[str, complex]) -> NDArray[np.float64]:
    return np.array([[head[name].real, head[name].imag] for name in ISBI2015.abbreviations])


def turned(vector: complex, degrees: float) -> complex:
    return vector * cmath.exp(1j * math.radians(degrees))


def with_value(name: str, value: float) -> NDArray[np.float64]:
    """Move landmarks of the head so that a measurement has this value at a spacing of 0.1 mm."""
    h = dict(HEAD)
    if name in ("SNB", "SNA", "ANB"):  # A and B lie anticlockwise of nasion–sella on the screen
        anchor = 80.0 if name == "ANB" else 0.0
        h["B"] = h["N"] + 1.5 * turned(h["S"] - h["N"], -(anchor or value))
        h["A"] = h["N"] + turned(h["S"] - h["N"], -(anchor + value))
    elif name == "ODI":
        h["Me"] = h["Go"] - turned((h["A"] - h["B"]), -value)
    elif name == "APDI":
        h["ANS"] = h["PNS"] + turned(500, value - 90)
    elif name == "FHI":
        h["Go"] = h["S"] + 1000j * value
    elif name == "SN-GoGn":
        h["Gn"] = h["Go"] + turned(h["N"] - h["S"], value)
    elif name == "MW":
        h["UI"] = h["LI"] + value / 0.1
    return film(h)


def oracle(points: NDArray[np.float64], spacing_mm: float) -> Iterator[float]:
    """Yield the challenge's measurements of one film, from L1 to L19 as complex numbers."""
    L = [complex(math.nan), *(complex(x, y) for x, y in points)]

    def turn(u: complex, v: complex) -> float:
        return math.degrees(cmath.phase(v / u))

    palatal = abs(turn(L[3] - L[4], L[18] - L[17]))
    if ((L[3] - L[4]).conjugate() * (L[18] - L[17])).imag < 0:
        palatal *= -1
    ab_line = abs(turn(L[7] - L[2], L[6] - L[5]))
    if ((L[7] - L[2]).conjugate() * (L[6] - L[5])).imag > 0:
        ab_line *= -1
    sna, snb = (abs(turn(L[1] - L[2], L[k] - L[2])) for k in (5, 6))
    yield sna - snb
    yield snb
    yield sna
    yield abs(turn(L[10] - L[8], L[5] - L[6])) + palatal
    yield abs(turn(L[4] - L[3], L[7] - L[2])) + ab_line + palatal
    yield abs(L[1] - L[10]) / abs(L[2] - L[8])
    yield abs(turn(L[2] - L[1], L[9] - L[10]))
    yield math.dist(points[10], points[11]) * spacing_mm * (-1 if L[12].real < L[11].real else 1)


def random_films(count: int) -> NDArray[np.float64]:
    points_px = np.random.default_rng(count).uniform(0, 2000, (count, 19, 2))
    return np.asarray(upright(points_px, ISBI2015), np.float64)


def test_measurements_equal_those_from_complex_numbers() -> None:
    films = random_films(300)
    expected = [list(oracle(points, 0.1)) for points in films]
    np.testing.assert_allclose(measure(films, 0.1), expected, rtol=0, atol=1e-9)


def test_measurements_by_hand() -> None:
    """Right angles and 3, 4, 5 triangles, with palatal plane and A–B line tipped both ways."""
    h = dict.fromkeys(ISBI2015.abbreviations, 0j) | {
        "S": 0j, "N": 400 + 0j, "A": 400 + 100j, "B": 300 + 100j,
        "Go": 180 + 240j, "Me": 400 + 400j, "Gn": 280 + 340j,
        "Po": 0j, "Or": 100 + 0j, "PNS": 0j, "ANS": 100 + 100j, "Pog": 400 + 900j,
        "LI": 0j, "UI": 3 - 4j,
    }  # fmt: skip
    odi = math.degrees(math.atan2(160, -220))  # from Me–Go to B–A, which is horizontal
    values = dict(zip(NAMES, measure(film(h), 0.1), strict=True))
    assert values["SNA"] == pytest.approx(90)
    assert values["SNB"] == pytest.approx(45)
    assert values["ANB"] == pytest.approx(45)
    assert values["ODI"] == pytest.approx(odi + 45)
    assert values["APDI"] == pytest.approx(90 - 90 + 45)
    assert values["FHI"] == pytest.approx(0.75)
    assert values["SN-GoGn"] == pytest.approx(45)
    assert values["MW"] == pytest.approx(0.5)
    h |= {"ANS": 100 - 100j, "B": 500 + 100j, "UI": -3 - 4j}
    values = dict(zip(NAMES, measure(film(h), 0.1), strict=True))
    assert values["APDI"] == pytest.approx(90 + 90 - 45)
    assert values["ODI"] == pytest.approx(180 - odi - 45)
    assert values["MW"] == pytest.approx(-0.5)


@pytest.mark.parametrize("porion", [700 + 1000j, 2100 + 1000j])
def test_opposite_directions_are_180_degrees(porion: complex) -> None:
    """The sign of their cross product, which is 0 or -0, does not matter."""
    ahead = 1 if porion.real < 1400 else -1
    points = film(HEAD | {"Po": porion, "ANS": 950 - 500 * ahead + 1300j, "B": 1450 + 900j})
    values = dict(zip(NAMES, measure(points), strict=True))
    assert values["APDI"] == pytest.approx(90 + 180 + 180)
    assert list(oracle(points, 0.1))[4] == pytest.approx(values["APDI"])


@pytest.mark.parametrize("measurement", MEASUREMENTS, ids=NAMES)
def test_bounds_belong_to_class_1(measurement: Any) -> None:
    """A value on the bound is in class 1 in spite of rounding; one just beyond it is not."""
    index = NAMES.index(measurement.name)
    spacing_mm, beyond = (0.1, 0.1) if measurement.name == "MW" else (None, 1e-6)
    low, high = measurement.normal
    for value, expected in (
        (low, 1), (high, 1), ((low + high) / 2, 1), (low + beyond, 1), (high - beyond, 1),
        (low - beyond, measurement.below), (high + beyond, measurement.above),
    ):  # fmt: skip
        points = with_value(measurement.name, value)
        assert measure(points, 0.1)[index] == pytest.approx(value, abs=1e-9)
        assert classify(points, spacing_mm)[index] == expected, value


def test_classes_and_meanings_are_those_of_the_challenge() -> None:
    meanings = {m.name: (m.meaning(m.below), m.meaning(m.above)) for m in MEASUREMENTS}
    assert meanings == {
        "ANB": ("skeletal class III", "skeletal class II"),
        "SNB": ("retrognathic mandible", "prognathic mandible"),
        "SNA": ("retrognathic maxilla", "prognathic maxilla"),
        "ODI": ("open bite", "deep bite"),
        "APDI": ("class II", "class III"),
        "FHI": ("long face", "short face"),
        "SN-GoGn": ("low angle", "high angle"),
        "MW": ("anterior cross-bite or small overjet", "large overjet"),
    }
    assert MEASUREMENTS[7].meaning(2) == "edge to edge"
    assert MEASUREMENTS[0].meaning(0) == "not known"


@pytest.mark.parametrize(
    ("lower_px", "upper_px", "expected"),
    [
        (500.0, 500.0, 2),
        (499.5, 500.49, 2),  # both round to 500
        (499.49, 499.5, 3),  # to 499 and 500
        (500.0, 499.0, 3),
        (500.0, 519.49, 3),
        (500.0, 519.5, 1),
        (500.0, 545.49, 1),
        (500.0, 545.5, 4),
    ],
)
@pytest.mark.parametrize("spacing_mm", [0.1, 0.05, 0.25, 0.4])
def test_edge_to_edge_is_a_tenth_of_a_millimetre_at_any_resolution(
    lower_px: float, upper_px: float, expected: int, spacing_mm: float
) -> None:
    points = film(HEAD | {"LI": lower_px + 1650j, "UI": upper_px + 1650j})  # of a film of 0.1 mm
    resized = (points + 0.5) * (0.1 / spacing_mm) - 0.5
    assert classify(resized, spacing_mm)[7] == expected


def test_films_of_unknown_spacing_are_not_rounded() -> None:
    films = random_films(3)
    moved = round_landmarks(films, np.array([0.1, np.nan, 0.2]))
    np.testing.assert_array_equal(moved[0], np.floor(films[0] + 0.5))
    np.testing.assert_array_equal(moved[1], films[1])
    np.testing.assert_allclose(moved[2], np.floor((films[2] + 0.5) * 2) / 2 - 0.25)
    np.testing.assert_array_equal(round_landmarks(films), films)


@pytest.mark.parametrize("spacing_mm", [None, math.nan])
def test_only_mw_needs_the_spacing(spacing_mm: float | None) -> None:
    films = random_films(20)
    values, classes = measure(films, spacing_mm), classify(films, spacing_mm)
    np.testing.assert_array_equal(values[:, :7], measure(films, 0.1)[:, :7])
    assert np.isnan(values[:, 7]).all()
    assert (classes[:, 7] == 0).all()
    assert (classes[:, :7] > 0).all()


def test_batches_may_have_any_shape() -> None:
    films = random_films(6).reshape(2, 3, 19, 2)
    spacings_mm = np.array([[0.1, 0.2, np.nan], [0.05, 0.3, 0.1]])
    values, classes = measure(films, spacings_mm), classify(films, spacings_mm)
    assert values.shape == classes.shape == (2, 3, 8)
    for index in np.ndindex(2, 3):
        one = float(spacings_mm[index])
        np.testing.assert_array_equal(values[index], measure(films[index], one))
        np.testing.assert_array_equal(classes[index], classify(films[index], one))
    assert classify(films[:0]).shape == (0, 3, 8)


def test_measurements_are_invariant_to_shift_rotation_and_scale() -> None:
    films, angle = random_films(50), 0.3
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    values = measure(films, 0.1)
    np.testing.assert_allclose(measure(films @ turn + 70.0)[:, :7], values[:, :7], atol=1e-8)
    np.testing.assert_allclose(measure(films * 0.4, 0.25), values, atol=1e-8)
    np.testing.assert_allclose(measure(films * 3)[:, :7], values[:, :7], atol=1e-8)


NEEDED = {
    "ANB": {"S", "N", "A", "B"},
    "SNB": {"S", "N", "B"},
    "SNA": {"S", "N", "A"},
    "ODI": {"Me", "Go", "A", "B", "Or", "Po", "PNS", "ANS"},
    "APDI": {"Or", "Po", "N", "Pog", "A", "B", "PNS", "ANS"},
    "FHI": {"S", "Go", "N", "Me"},
    "SN-GoGn": {"S", "N", "Go", "Gn"},
    "MW": {"LI", "UI"},
}


@pytest.mark.parametrize("missing", [math.nan, math.inf, -math.inf])
def test_measurements_of_a_missing_landmark_are_unknown(missing: float) -> None:
    assert set(LANDMARKS) == set().union(*NEEDED.values())
    for k, abbreviation in enumerate(ISBI2015.abbreviations):
        points = film(HEAD)
        points[k, k % 2] = missing
        unknown = [abbreviation in NEEDED[name] for name in NAMES]
        np.testing.assert_array_equal(np.isnan(measure(points, 0.1)), unknown)
        np.testing.assert_array_equal(classify(points, 0.1) == 0, unknown)


def test_angles_between_coincident_landmarks_are_unknown() -> None:
    values = measure(np.full((19, 2), 7.0), 0.1)
    np.testing.assert_array_equal(values, [np.nan] * 7 + [0.0])


def test_landmarks_are_found_by_abbreviation() -> None:
    order = np.random.default_rng(1).permutation(19)
    extra = Landmark("Basion", "Ba")
    other = LandmarkSet("other", (extra, *(ISBI2015.landmarks[k] for k in order)))
    points = film(HEAD)
    moved = np.concatenate([[[1.0, 2.0]], points[order]])
    np.testing.assert_array_equal(measure(moved, 0.1, other), measure(points, 0.1))
    np.testing.assert_array_equal(classify(moved, 0.1, other), classify(points, 0.1))


def test_invalid_input_is_refused() -> None:
    hand = LandmarkSet("hand", ISBI2015.landmarks[2:])
    with pytest.raises(InputError, match=r"'hand' has no S, N, which .* 'isbi2015' has them"):
        measure(np.ones((17, 2)), 0.1, hand)
    with pytest.raises(InputError, match="'hand' has no S, N"):
        classify(np.ones((17, 2)), 0.1, hand)
    with pytest.raises(ValueError, match=r"\[\.\.\., 19, 2\] for .*; got \[4, 18, 2\]"):
        measure(np.ones((4, 18, 2)), 0.1)
    with pytest.raises(
        ValueError, match=r"one number for each film, of shape \[4\]; got shape \[3\]"
    ):
        classify(np.ones((4, 19, 2)), np.ones(3))
    for wrong in (0.0, -0.1, math.inf):
        with pytest.raises(ValueError, match=f"above 0, or NaN if unknown; got {wrong}"):
            classify(np.ones((19, 2)), wrong)


@pytest.mark.parametrize("spacing_mm", [0.1, 0.05, 0.3])
def test_the_readers_mean_gives_every_label_of_the_challenge(
    shared: Path, spacing_mm: float
) -> None:
    """This holds for all films, at other resolutions, and after a float32 round trip."""
    records = read_dataset(shared / "data" / "isbi2015", "all", DataConfig())
    labels = np.array([record.class_labels for record in records])
    mean_px = np.stack([record.landmarks_px for record in records])
    assert len(labels) >= 300
    resized = (mean_px + 0.5) * (0.1 / spacing_mm) - 0.5
    np.testing.assert_array_equal(classify(resized, spacing_mm), labels)
    size_px = (1935, 2400)
    frame = geometry.whole_film(size_px)
    back = geometry.to_pixels(geometry.normalise(mean_px.astype(np.float32), frame), frame)
    np.testing.assert_array_equal(classify(back, np.full(len(labels), 0.1)), labels)


def test_both_readers_files_hold_the_same_labels(shared: Path) -> None:
    junior, senior = (
        {
            path.stem: parse_text(path.read_text(), path.name, len(ISBI2015))[1]
            for path in folder.glob("*.txt")
        }
        for folder in (shared / "data" / "isbi2015" / "Annotations").glob("* Orthodontist")
    )
    assert len(junior) >= 300
    assert junior == senior
