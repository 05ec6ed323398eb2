"""Every measure of every analysis on three heads, against school geometry on their coordinates.

The expected values use slopes, leans from the vertical, the law of cosines and turned films; the
implementation uses vectors. `BY_HAND` has figures worked out with pencil and calculator.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable

import numpy as np
import pytest

from cephray.clinical import analysis_named, analysis_names
from cephray.landmarks import ISBI2015, landmark_set
from tests.clinical.heads import ALL_POINTS, HEADS, SPACINGS_MM, heads, moved


class Head:
    """Points of a head in millimetres, by plain arithmetic. "P+Q" is the middle of P and Q."""

    def __init__(self, number: int, tilt_deg: float = 0.0) -> None:
        spacing = SPACINGS_MM[number]
        turn = cmath.exp(-1j * math.radians(tilt_deg))
        self._p = {k: complex(*v[number]) * spacing * turn for k, v in HEADS.items()}
        self._number = number

    def at(self, name: str) -> complex:
        parts = [self._p[one] for one in name.split("+")]
        return sum(parts) / len(parts)

    def dip(self, p: str, q: str) -> float:
        """Return how steeply P–Q descends to the front: degrees from the horizontal."""
        way = self.at(q) - self.at(p)
        return math.degrees(math.atan(way.imag / way.real))

    def lean(self, p: str, q: str) -> float:
        """Return how far P–Q leans from the vertical: degrees, positive if its way is forwards."""
        way = self.at(q) - self.at(p)
        return math.degrees(math.atan(way.real / abs(way.imag)))

    def far(self, p: str, q: str) -> float:
        return math.sqrt((self.x(q) - self.x(p)) ** 2 + (self.y(q) - self.y(p)) ** 2)

    def corner(self, p: str, vertex: str, q: str) -> float:
        """Return the angle at a vertex by the law of cosines."""
        a, b, c = self.far(vertex, p), self.far(vertex, q), self.far(p, q)
        return math.degrees(math.acos((a * a + b * b - c * c) / (2 * a * b)))

    def before(self, top: str, bottom: str, p: str) -> float:
        """Return how far P lies before the line: along its row of the film, then to the foot."""
        share = (self.y(p) - self.y(top)) / (self.y(bottom) - self.y(top))
        row = self.x(p) - (self.x(top) + share * (self.x(bottom) - self.x(top)))
        return row * math.cos(math.radians(self.lean(top, bottom)))

    def level(self, p: str, q: str, more_deg: float = 0.0) -> Head:
        """Return the head turned so that P–Q, or a line that much steeper, is horizontal."""
        return Head(self._number, self.dip(p, q) + more_deg)

    def x(self, name: str) -> float:
        return self.at(name).real

    def y(self, name: str) -> float:
        return self.at(name).imag


def fh(h: Head) -> Head:
    return h.level("Po", "Or")


def hp(h: Head) -> Head:
    return h.level("S", "N", 7)


def interincisal(h: Head) -> float:
    return 180 - h.lean("UIA", "UI") - h.lean("LIA", "LI")


def between_planes(h: Head, first: str, second: str) -> float:
    return h.dip(*second.split()) - h.dip(*first.split())


def incisor_to_mandible(h: Head, front: str = "Me") -> float:
    return 90 - h.dip("Go", front) + h.lean("LIA", "LI")


def incisor_to_palate(h: Head) -> float:
    return 90 + h.lean("UIA", "UI") + h.dip("PNS", "ANS")


def bisector(h: Head) -> Head:
    return Head(h._number, (h.dip("PNS", "ANS") + h.dip("Go", "Me")) / 2)


OP = "UMT+LMT UI+LI"

EXPECTED: dict[str, dict[str, Callable[[Head], float]]] = {
    "steiner": {
        "SNA": lambda h: h.corner("S", "N", "A"),
        "SNB": lambda h: h.corner("S", "N", "B"),
        "ANB": lambda h: h.lean("N", "A") - h.lean("N", "B"),
        "SND": lambda h: h.corner("S", "N", "D"),
        "SN-GoGn": lambda h: between_planes(h, "S N", "Go Gn"),
        "SN-OP": lambda h: between_planes(h, "S N", OP),
        "U1-NA angle": lambda h: h.lean("UIA", "UI") - h.lean("N", "A"),
        "U1-NA mm": lambda h: h.before("N", "A", "UI"),
        "L1-NB angle": lambda h: h.lean("LIA", "LI") + h.lean("N", "B"),
        "L1-NB mm": lambda h: h.before("N", "B", "LI"),
        "Pog-NB mm": lambda h: h.before("N", "B", "Pog"),
        "U1-L1": interincisal,
        "UL-S line": lambda h: h.before("Pn+Sn", "Pog'", "UL"),
        "LL-S line": lambda h: h.before("Pn+Sn", "Pog'", "LL"),
    },
    "downs": {
        "facial angle": lambda h: 90 + fh(h).lean("N", "Pog"),
        "convexity": lambda h: h.lean("N", "A") - h.lean("A", "Pog"),
        "A-B plane": lambda h: h.lean("A", "B") - h.lean("N", "Pog"),
        "FMA": lambda h: between_planes(h, "Po Or", "Go Me"),
        "Y-axis": lambda h: between_planes(h, "Po Or", "S Gn"),
        "occlusal cant": lambda h: between_planes(h, "Po Or", OP),
        "U1-L1": interincisal,
        "L1-OP": lambda h: h.lean("LIA", "LI") - h.dip(*OP.split()),
        "L1-MP": lambda h: incisor_to_mandible(h) - 90,
        "U1-APog": lambda h: h.before("A", "Pog", "UI"),
    },
    "tweed": {
        "FMA": lambda h: fh(h).dip("Go", "Me"),
        "FMIA": lambda h: 90 - fh(h).lean("LIA", "LI"),
        "IMPA": incisor_to_mandible,
        "Z upper": lambda h: 90 + fh(h).lean("UL", "Pog'"),
        "Z lower": lambda h: 90 + fh(h).lean("LL", "Pog'"),
        "Z": lambda h: 90 + min(fh(h).lean("UL", "Pog'"), fh(h).lean("LL", "Pog'")),
    },
    "jarabak": {
        "saddle angle": lambda h: h.corner("N", "S", "Ar"),
        "articular angle": lambda h: h.corner("S", "Ar", "Go"),
        "gonial angle": lambda h: h.corner("Ar", "Go", "Me"),
        "upper gonial": lambda h: h.corner("Ar", "Go", "N"),
        "lower gonial": lambda h: h.corner("N", "Go", "Me"),
        # The sum is 360 degrees more than the dip of Go–Me against S–N.
        "sum": lambda h: 360 + between_planes(h, "S N", "Go Me"),
        "S-N": lambda h: h.far("S", "N"),
        "S-Ar": lambda h: h.far("S", "Ar"),
        "Ar-Go": lambda h: h.far("Ar", "Go"),
        "Go-Me": lambda h: h.far("Go", "Me"),
        "N-Me": lambda h: h.far("N", "Me"),
        "S-Go": lambda h: h.far("S", "Go"),
        "S-Go/N-Me": lambda h: 100 * h.far("S", "Go") / h.far("N", "Me"),
        "U1-SN": lambda h: 90 + h.lean("UIA", "UI") + h.dip("S", "N"),
        "L1-MP": incisor_to_mandible,
    },
    "mcnamara": {
        "A-N perpendicular": lambda h: fh(h).x("A") - fh(h).x("N"),
        "Pog-N perpendicular": lambda h: fh(h).x("Pog") - fh(h).x("N"),
        "Co-A": lambda h: h.far("Co", "A"),
        "Co-Gn": lambda h: h.far("Co", "Gn"),
        "Co-Gn - Co-A": lambda h: h.far("Co", "Gn") - h.far("Co", "A"),
        "ANS-Me": lambda h: h.far("ANS", "Me"),
        "FMA": lambda h: fh(h).dip("Go", "Me"),
        "facial axis": lambda h: h.level("Ba", "N").lean("Pt", "Gn"),
        "U1-A vertical": lambda h: fh(h).x("UI") - fh(h).x("A"),
        "L1-APog": lambda h: h.before("A", "Pog", "LI"),
        "nasolabial angle": lambda h: h.corner("Cm", "Sn", "UL"),
    },
    "ricketts": {
        "facial axis": lambda h: 90 + h.level("Ba", "N").lean("Pt", "Gn"),
        "facial depth": lambda h: 90 + fh(h).lean("N", "Pog"),
        "maxillary depth": lambda h: 90 + fh(h).lean("N", "A"),
        "FMA": lambda h: fh(h).dip("Go", "Me"),
        "facial taper": lambda h: 90 - h.lean("N", "Pog") - h.dip("Go", "Me"),
        "lower facial height": lambda h: h.corner("ANS", "Xi", "Pm"),
        "palatal plane": lambda h: fh(h).dip("PNS", "ANS"),
        "convexity": lambda h: h.before("N", "Pog", "A"),
        "L1-APog mm": lambda h: h.before("A", "Pog", "LI"),
        "L1-APog angle": lambda h: h.lean("LIA", "LI") + h.lean("A", "Pog"),
        "U1-APog mm": lambda h: h.before("A", "Pog", "UI"),
        "U1-APog angle": lambda h: h.lean("UIA", "UI") - h.lean("A", "Pog"),
        "U1-L1": interincisal,
        "UL-E line": lambda h: h.before("Pn", "Pog'", "UL"),
        "LL-E line": lambda h: h.before("Pn", "Pog'", "LL"),
    },
    "bjork": {
        "SNA": lambda h: h.corner("S", "N", "A"),
        "SNB": lambda h: h.corner("S", "N", "B"),
        "ANB": lambda h: h.lean("N", "A") - h.lean("N", "B"),
        "SN-Pog": lambda h: h.corner("S", "N", "Pog"),
        "NSL-NL": lambda h: between_planes(h, "S N", "PNS ANS"),
        "NSL-ML": lambda h: between_planes(h, "S N", "Go Me"),
        "NL-ML": lambda h: between_planes(h, "PNS ANS", "Go Me"),
        "N-S-Ar": lambda h: h.corner("N", "S", "Ar"),
        "S-Ar-Go": lambda h: h.corner("S", "Ar", "Go"),
        "Ar-Go-Me": lambda h: h.corner("Ar", "Go", "Me"),
        "ILs-NL": incisor_to_palate,
        "ILi-ML": incisor_to_mandible,
        "ILs-ILi": interincisal,
    },
    "eastman": {
        "SNA": lambda h: h.corner("S", "N", "A"),
        "SNB": lambda h: h.corner("S", "N", "B"),
        "ANB": lambda h: h.corner("S", "N", "A") - h.corner("S", "N", "B"),
        "SN-MxP": lambda h: between_planes(h, "S N", "PNS ANS"),
        "MMPA": lambda h: between_planes(h, "PNS ANS", "Go Me"),
        "U1-MxP": incisor_to_palate,
        "L1-MnP": incisor_to_mandible,
        "U1-L1": interincisal,
        "UAFH": lambda h: h.level("PNS", "ANS").y("ANS") - h.level("PNS", "ANS").y("N"),
        "LAFH": lambda h: h.level("PNS", "ANS").y("Me") - h.level("PNS", "ANS").y("ANS"),
        "TAFH": lambda h: h.level("PNS", "ANS").y("Me") - h.level("PNS", "ANS").y("N"),
        "LAFH/TAFH": lambda h: (
            100 * EXPECTED["eastman"]["LAFH"](h) / EXPECTED["eastman"]["TAFH"](h)
        ),
        "L1-APog": lambda h: h.before("A", "Pog", "LI"),
    },
    "burstone": {
        "Ar-Ptm": lambda h: hp(h).x("Ptm") - hp(h).x("Ar"),
        "Ptm-N": lambda h: hp(h).x("N") - hp(h).x("Ptm"),
        "N-A-Pog": lambda h: h.lean("N", "A") - h.lean("A", "Pog"),
        "N-A": lambda h: hp(h).x("A") - hp(h).x("N"),
        "N-B": lambda h: hp(h).x("B") - hp(h).x("N"),
        "N-Pog": lambda h: hp(h).x("Pog") - hp(h).x("N"),
        "N-ANS": lambda h: hp(h).y("ANS") - hp(h).y("N"),
        "ANS-Gn": lambda h: hp(h).y("Gn") - hp(h).y("ANS"),
        "PNS-N": lambda h: hp(h).y("PNS") - hp(h).y("N"),
        "MP-HP": lambda h: hp(h).dip("Go", "Gn"),
        "U1-NF mm": lambda h: h.level("PNS", "ANS").y("UI") - h.level("PNS", "ANS").y("PNS"),
        "L1-MP mm": lambda h: h.level("Go", "Gn").y("Go") - h.level("Go", "Gn").y("LI"),
        "U6-NF": lambda h: h.level("PNS", "ANS").y("UMT") - h.level("PNS", "ANS").y("PNS"),
        "L6-MP": lambda h: h.level("Go", "Gn").y("Go") - h.level("Go", "Gn").y("LMT"),
        "PNS-ANS": lambda h: hp(h).x("ANS") - hp(h).x("PNS"),
        "Ar-Go": lambda h: h.far("Ar", "Go"),
        "Go-Pog": lambda h: h.far("Go", "Pog"),
        "B-Pog": lambda h: h.level("Go", "Gn").x("Pog") - h.level("Go", "Gn").x("B"),
        "Ar-Go-Gn": lambda h: h.corner("Ar", "Go", "Gn"),
        "U1-NF angle": incisor_to_palate,
        "L1-MP angle": lambda h: incisor_to_mandible(h, "Gn"),
        "UL-SnPog'": lambda h: h.before("Sn", "Pog'", "UL"),
        "LL-SnPog'": lambda h: h.before("Sn", "Pog'", "LL"),
    },
    "wits": {
        "Wits": lambda h: (
            h.level("UMT+LMT", "UPM+LPM").x("A") - h.level("UMT+LMT", "UPM+LPM").x("B")
        ),
        "Wits on the bisector": lambda h: bisector(h).x("A") - bisector(h).x("B"),
    },
}


def test_every_measure_has_an_expected_value() -> None:
    measures = {n: [m.name for m in analysis_named(n).measures] for n in analysis_names()}
    assert measures == {name: list(EXPECTED[name]) for name in sorted(EXPECTED)}


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("name", EXPECTED)
def test_measures_of_three_heads(name: str, number: int) -> None:
    analysis = analysis_named(name)
    found = analysis.values(heads()[number], SPACINGS_MM[number], ALL_POINTS)
    for measure, value in zip(analysis.measures, found, strict=True):
        expected = EXPECTED[name][measure.name](Head(number))
        assert value == pytest.approx(expected, abs=1e-9), measure.name


# Of the first head, whose Frankfort line is horizontal, from its coordinates.
BY_HAND = {
    ("downs", "FMA"): 29.36,  # atan(315 / 560)
    ("downs", "facial angle"): 87.87,  # 90 − atan(38 / 1020)
    ("downs", "Y-axis"): 62.18,  # atan(995 / 525)
    ("mcnamara", "A-N perpendicular"): -1.0,  # 1390 − 1400 pixels of 0.1 mm
    ("mcnamara", "Pog-N perpendicular"): -3.8,
    ("mcnamara", "ANS-Me"): 61.39,  # hypot(130, 600) pixels
    ("mcnamara", "U1-A vertical"): 5.0,
    ("tweed", "FMIA"): 66.45,  # 90 − atan(85 / 195)
    ("steiner", "SNA"): 82.21,  # 90 − atan(10 / 560) − atan(70 / 590)
    ("jarabak", "S-N"): 59.41,  # hypot(590, 70) pixels
}


@pytest.mark.parametrize(("name", "measure"), BY_HAND)
def test_measures_by_hand(name: str, measure: str) -> None:
    analysis = analysis_named(name)
    values = analysis.values(heads()[0], 0.1, ALL_POINTS)
    found = dict(zip([m.name for m in analysis.measures], values, strict=True))
    assert found[measure] == pytest.approx(BY_HAND[name, measure], abs=0.006)


def value(name: str, measure: str, **points: tuple[float, float]) -> float:
    """Return a measure of the first head with some of its points elsewhere."""
    analysis = analysis_named(name)
    values = analysis.values(moved(**points), 0.1, ALL_POINTS)
    return float(values[[m.name for m in analysis.measures].index(measure)])


@pytest.mark.parametrize(
    ("name", "measure", "before", "after"),
    [
        ("steiner", "ANB", {"A": (1420, 1530)}, {"A": (1330, 1530)}),
        ("steiner", "U1-NA mm", {"UI": (1440, 1715)}, {"UI": (1340, 1715)}),
        ("steiner", "U1-NA angle", {"UI": (1440, 1715)}, {"UI": (1300, 1715)}),
        ("steiner", "L1-NB angle", {"LI": (1415, 1700)}, {"LI": (1300, 1700)}),
        ("steiner", "Pog-NB mm", {"Pog": (1380, 1990)}, {"Pog": (1320, 1990)}),
        ("steiner", "SN-GoGn", {"Gn": (1335, 2035)}, {"Gn": (1335, 1600)}),
        ("downs", "convexity", {"A": (1450, 1530)}, {"A": (1350, 1530)}),
        ("downs", "A-B plane", {"B": (1390, 1870)}, {"B": (1300, 1870)}),
        ("downs", "L1-OP", {"LI": (1415, 1700)}, {"LI": (1280, 1700)}),
        ("ricketts", "convexity", {"A": (1450, 1530)}, {"A": (1350, 1530)}),
        ("ricketts", "palatal plane", {"ANS": (1415, 1500)}, {"ANS": (1415, 1400)}),
        ("ricketts", "LL-E line", {"LL": (1535, 1810)}, {"LL": (1525, 1810)}),
        ("burstone", "N-A", {"A": (1500, 1530)}, {"A": (1350, 1530)}),
        ("burstone", "U1-NF mm", {"UI": (1440, 1715)}, {"UI": (1440, 1400)}),
        ("mcnamara", "facial axis", {"Gn": (1500, 2035)}, {"Gn": (1000, 2035)}),
        ("wits", "Wits", {"A": (1500, 1530)}, {"A": (1300, 1530)}),
        ("wits", "Wits on the bisector", {"A": (1500, 1530)}, {"A": (1200, 1530)}),
    ],
)
def test_signs(
    name: str,
    measure: str,
    before: dict[str, tuple[float, float]],
    after: dict[str, tuple[float, float]],
) -> None:
    """A value is positive where the point lies in front, below or above, as the file says."""
    assert value(name, measure, **before) > 0
    assert value(name, measure, **after) < 0


@pytest.mark.parametrize("name", EXPECTED)
def test_a_missing_point_leaves_the_measures_that_need_it_unknown(name: str) -> None:
    analysis = analysis_named(name)
    for k, point in enumerate(ALL_POINTS.abbreviations):
        head = heads()[0]
        head[k, k % 2] = (np.nan, np.inf)[k % 2]
        unknown = [point in analysis.points_of(measure) for measure in analysis.measures]
        values = analysis.values(head, 0.1, ALL_POINTS)
        np.testing.assert_array_equal(np.isnan(values), unknown)


@pytest.mark.parametrize("name", EXPECTED)
def test_lengths_alone_need_the_spacing(name: str) -> None:
    analysis = analysis_named(name)
    values = analysis.values(heads(), None, ALL_POINTS)
    is_mm = np.array([measure.unit == "mm" for measure in analysis.measures])
    np.testing.assert_array_equal(np.isnan(values), np.broadcast_to(is_mm, values.shape))
    spacings_mm = np.array([0.1, np.nan, 0.3])
    each = analysis.values(heads(), spacings_mm, ALL_POINTS)
    for number, spacing_mm in enumerate(spacings_mm):
        alone = analysis.values(heads()[number], float(spacing_mm), ALL_POINTS)
        np.testing.assert_allclose(each[number], alone, rtol=1e-12)


@pytest.mark.parametrize("name", EXPECTED)
def test_measures_do_not_depend_on_the_place_of_the_film(name: str) -> None:
    analysis = analysis_named(name)
    angle = math.radians(11)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    values = analysis.values(heads(), 0.1, ALL_POINTS)
    turned = analysis.values(heads() @ turn + [30, -70], 0.1, ALL_POINTS)
    np.testing.assert_allclose(turned, values, atol=1e-8)
    np.testing.assert_allclose(analysis.values(heads() / 2, 0.2, ALL_POINTS), values, atol=1e-8)


def test_a_set_allows_the_measures_whose_points_it_has() -> None:
    counts = {
        name: tuple(
            len(analysis_named(name).of_set(landmarks).measures)
            for landmarks in (ISBI2015, landmark_set("aariz"), ALL_POINTS)
        )
        for name in analysis_names()
    }
    assert counts == {
        "bjork": (10, 13, 13),
        "burstone": (17, 21, 23),
        "downs": (6, 10, 10),
        "eastman": (10, 13, 13),
        "jarabak": (13, 15, 15),
        "mcnamara": (6, 9, 11),
        "ricketts": (8, 13, 15),
        "steiner": (7, 13, 14),
        "tweed": (4, 6, 6),
        "wits": (1, 2, 2),
    }


def test_other_sets_may_call_the_points_otherwise() -> None:
    """Aariz calls the tip of the upper incisor UIT, and the lips Ls and Li."""
    aariz = landmark_set("aariz")
    same = {"UIT": "UI", "LIT": "LI", "Ls": "UL", "Li": "LL", "R": "Xi", "N'": "N"}
    names = [same.get(name, name) for name in aariz.abbreviations]
    points = heads()[0][[list(HEADS).index(name) for name in names]]
    for name in analysis_names():
        analysis = analysis_named(name).of_set(aariz)
        expected = analysis.values(heads()[0], 0.1, ALL_POINTS)
        np.testing.assert_array_equal(analysis.values(points, 0.1, aariz), expected)


def test_fma_is_not_sn_gogn() -> None:
    assert value("downs", "FMA") == pytest.approx(math.degrees(math.atan(315 / 560)))
    sn, gogn = math.atan(-70 / 590), math.atan(295 / 610)
    assert value("steiner", "SN-GoGn") == pytest.approx(math.degrees(gogn - sn))
