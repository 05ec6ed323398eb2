"""Tests that invalid windows and tables are ignored with a note, and that valid ones apply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from tests.data.dicom.test_decode import film, lookup, ramp, read

LINEAR = np.arange(4096, dtype=np.uint16)


def damaged(**changes: Any) -> list[Dataset]:
    """Make a table with changed elements. Elements with the value None are deleted."""
    table = lookup(12, 0, LINEAR)
    for keyword, value in changes.items():
        if value is None:
            del table[0][keyword]
        else:
            setattr(table[0], keyword, value)
    return table


LEFT_OUT: dict[str, tuple[dict[str, Any], str]] = {
    "width 0": ({"WindowCenter": 2048, "WindowWidth": 0}, "width 0 left out: it is impossible"),
    "negative": ({"WindowCenter": 2048, "WindowWidth": -4096}, "width -4096 left out"),
    "below 1": ({"WindowCenter": 2048, "WindowWidth": 0.5}, "width 0.5 left out"),
    "exact 0": (
        {"WindowCenter": 2048, "WindowWidth": 0, "VOILUTFunction": "LINEAR_EXACT"}, "impossible",
    ),
    "sigmoid 0": (
        {"WindowCenter": 2048, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"}, "impossible",
    ),
    "width nan": ({"WindowCenter": 2048, "WindowWidth": float("nan")}, "width nan left out"),
    "center inf": ({"WindowCenter": float("inf"), "WindowWidth": 9}, "center inf and width 9"),
    "no center": ({"WindowWidth": 4096}, "window left out: its center or width is missing"),
    "no width": ({"WindowCenter": 2048}, "window left out: its center or width is missing"),
    "all impossible": ({"WindowCenter": [2048, 9], "WindowWidth": [0, -1]}, "width -1 left out"),
    "beside": ({"WindowCenter": 60000, "WindowWidth": 10}, "leaves 1 of"),
    "width 1": ({"WindowCenter": 1000, "WindowWidth": 1}, "leaves 2 of"),
    "exact, small": (
        {"WindowCenter": 1000, "WindowWidth": 0.001, "VOILUTFunction": "LINEAR_EXACT"},
        "leaves 2 of",
    ),
    "no entries": ({"VOILUTSequence": damaged(LUTData=None)}, "table 1 left out: it is damaged"),
    "no descriptor": ({"VOILUTSequence": damaged(LUTDescriptor=None)}, "table 1 left out"),
    "short": ({"VOILUTSequence": damaged(LUTData=b"\0\1" * 9)}, "table 1 left out"),
    "two numbers": ({"VOILUTSequence": damaged(LUTDescriptor=[4096, 0])}, "table 1 left out"),
    "one grey": (
        {"VOILUTSequence": lookup(12, 0, np.full(4096, 7, np.uint16))}, "leaves 1 of",
    ),
    "modality": ({"ModalityLUTSequence": damaged(LUTData=None)}, "modality table left out"),
    "modality, one grey": (
        {"ModalityLUTSequence": lookup(12, 0, np.full(4096, 7, np.uint16))}, "too few grey values",
    ),
    "slope 0": ({"RescaleSlope": 0, "RescaleIntercept": 5}, "rescale left out"),
    "no slope": ({"RescaleIntercept": 5}, "rescale left out"),
}  # fmt: skip


@pytest.mark.parametrize("case", LEFT_OUT)
@pytest.mark.parametrize("kind", ["MONOCHROME2", "MONOCHROME1"])
def test_invalid_elements_are_ignored(tmp_path: Path, case: str, kind: str) -> None:
    """The image is the same as without the element, and a note gives the reason."""
    elements, words = LEFT_OUT[case]
    wide = ramp().astype(np.uint16) << 4
    usual = {"BitsStored": 12, "HighBit": 11, "PhotometricInterpretation": kind}
    plain = read(film(wide, **usual), tmp_path)
    found = read(film(wide, **usual, **elements), tmp_path)
    np.testing.assert_array_equal(found.image, plain.image)
    assert plain.notes == ()
    assert any(words in note for note in found.notes), found.notes


WINDOW = {"WindowCenter": [1000], "WindowWidth": [1000]}
APPLIED: dict[str, dict[str, Any]] = {
    "second window": {"WindowCenter": [9, 1000], "WindowWidth": [0, 1000]},
    "window beside, second": {"WindowCenter": [60000, 1000], "WindowWidth": [10, 1000]},
    "more centers than widths": {"WindowCenter": [1000, 5], "WindowWidth": 1000},
    "unknown function": {**WINDOW, "VOILUTFunction": "CUBIC"},
    "lower case": {**WINDOW, "VOILUTFunction": "linear"},
    "damaged table": {**WINDOW, "VOILUTSequence": damaged(LUTData=None)},
    "no table": {**WINDOW, "VOILUTSequence": []},
    "table of one grey": {
        **WINDOW, "VOILUTSequence": lookup(12, 0, np.full(4096, 7, np.uint16)),
    },
}  # fmt: skip


@pytest.mark.parametrize("case", APPLIED)
def test_the_first_valid_window_is_applied(tmp_path: Path, case: str) -> None:
    wide = ramp().astype(np.uint16) << 4
    expected = np.clip((wide - 999.5) / 999 + 0.5, 0, 1) * 255
    image = read(film(wide, **APPLIED[case]), tmp_path).image
    np.testing.assert_allclose(image, expected, atol=0.51)


# Elements that are not numbers, and whether the window (1000, 1000) is applied.
NOT_NUMBERS: dict[str, tuple[dict[str, bytes], bool]] = {
    "center": ({"WindowCenter": b"abc ", "WindowWidth": b"1000"}, False),
    "width": ({"WindowCenter": b"1000", "WindowWidth": b"wide"}, False),
    "comma": ({"WindowCenter": b"1000,5", "WindowWidth": b"1000,5"}, False),
    "no ASCII": ({"WindowCenter": b"\xff\xfe", "WindowWidth": b"1000"}, False),
    "all": ({"WindowCenter": b"a\\b ", "WindowWidth": b"c\\d "}, False),
    "first center": ({"WindowCenter": b"a\\1000", "WindowWidth": b"10\\1000 "}, True),
    "first width": ({"WindowCenter": b"10\\1000 ", "WindowWidth": b"a\\1000"}, True),
    "second width": ({"WindowCenter": b"1000\\10 ", "WindowWidth": b"1000\\a"}, True),
    "slope": ({"RescaleSlope": b"abc ", "RescaleIntercept": b"0 "}, False),
    "slope, window": (
        {"RescaleSlope": b"a ", "RescaleIntercept": b"0 ",
         "WindowCenter": b"1000", "WindowWidth": b"1000"}, True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_NUMBERS)
def test_elements_that_are_not_numbers_are_ignored(tmp_path: Path, case: str) -> None:
    """An invalid number, as in the bytes of a damaged file, does not affect the other numbers."""
    elements, applied = NOT_NUMBERS[case]
    wide = ramp().astype(np.uint16) << 4
    usual = {"BitsStored": 12, "HighBit": 11}
    dataset = film(wide, **usual)
    for keyword, value in elements.items():
        tag = Tag(keyword)
        dataset[tag] = RawDataElement(tag, "DS", len(value), value, 0, False, True)
    found = read(dataset, tmp_path)
    expected = read(film(wide, **usual, **(WINDOW if applied else {})), tmp_path)
    np.testing.assert_array_equal(found.image, expected.image)
    assert bool(found.notes) == (case != "second width")


def test_linear_exact_allows_a_width_below_1(tmp_path: Path) -> None:
    stored = ramp().astype(np.uint16)
    elements = {
        "RescaleSlope": 0.001, "RescaleIntercept": 0, "VOILUTFunction": "LINEAR_EXACT",
        "WindowCenter": 0.1, "WindowWidth": 0.1,
    }  # fmt: skip
    found = read(film(stored, **elements), tmp_path)
    expected = np.clip((stored * 0.001 - 0.1) / 0.1 + 0.5, 0, 1) * 255
    np.testing.assert_allclose(found.image, expected, atol=0.51)
    assert found.notes == ()


def test_a_film_of_few_grey_values_keeps_its_window(tmp_path: Path) -> None:
    """A film with two grey values has too few without the window as well."""
    stored = np.zeros((40, 30), np.uint16)
    stored[10:20] = 100
    found = read(film(stored, WindowCenter=50, WindowWidth=200), tmp_path)
    assert found.notes == ()
    assert sorted(np.unique(found.image)) == [64, 192]
