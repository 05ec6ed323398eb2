"""Measures of a film as plain values, and as tables for the terminal."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cephray.clinical import (
    CHALLENGE,
    MEASUREMENTS,
    analysis_named,
    analysis_names,
    choose_analyses,
    class_probabilities,
    classify,
    format_analysis,
    format_challenge,
    format_measures,
    measure,
    read_analysis,
    read_challenge,
    standard_deviations,
)
from cephray.errors import InputError
from cephray.landmarks import ISBI2015, LandmarkSet, landmark_set
from tests.clinical.heads import ALL_POINTS, heads

HEAD = heads()[0][[ALL_POINTS.abbreviations.index(name) for name in ISBI2015.abbreviations]]
ERRORS_PX = np.full(19, 6.0)


def test_the_challenge_of_a_head() -> None:
    found = read_challenge(HEAD, 0.1, ISBI2015, ERRORS_PX)
    assert json.loads(json.dumps(found)) == found
    deviations = standard_deviations(lambda points: measure(points, 0.1), HEAD, ERRORS_PX)
    for one, measurement, value, sd, number in zip(
        found, MEASUREMENTS, measure(HEAD, 0.1), deviations, classify(HEAD, 0.1), strict=True
    ):
        probability = class_probabilities(measurement, value, sd)[number - 1]
        assert one == {
            "name": measurement.name,
            "value": round(value, 3),
            "sd": round(sd, 4),
            "unit": measurement.unit,
            "class": number,
            "class_probability": round(probability, 3),
            "meaning": measurement.meaning(number),
        }


def test_what_is_unknown_is_none() -> None:
    *others, overjet = read_challenge(HEAD, None, ISBI2015, ERRORS_PX)
    unknown = {"value": None, "sd": None, "class": 0, "class_probability": None}
    assert overjet == overjet | unknown | {"meaning": "not known"}
    assert all(one["sd"] > 0 and one["class"] > 0 for one in others)
    for one in read_challenge(HEAD, 0.1, ISBI2015):
        assert (one["sd"], one["class_probability"]) == (None, None)
        assert one["class"] > 0
    for one in read_challenge(HEAD, 0.1, ISBI2015, ERRORS_PX, classified=False):
        assert (one["class"], one["class_probability"]) == (0, None)
        assert one["sd"] > 0
    assert read_challenge(HEAD[:4], 0.1, LandmarkSet("few", ISBI2015.landmarks[:4])) == []


def test_norms_and_deviations() -> None:
    found = {
        one["name"]: one for one in read_analysis(analysis_named("downs"), HEAD, 0.1, ISBI2015)
    }
    assert "L1-OP" not in found  # the set has no molars
    norm = found["facial angle"]["norms"][0]
    difference = found["facial angle"]["value"] - 87.8
    assert norm["difference"] == pytest.approx(difference, abs=0.002)
    assert norm["difference_sd"] == pytest.approx(difference / 3.57, abs=0.01)
    assert norm["source"].startswith("Downs WB.")
    steiner = read_analysis(analysis_named("steiner"), HEAD, None, ISBI2015)
    assert steiner[0]["norms"][0]["difference_sd"] is None  # Steiner gives no deviations
    [pog] = [one for one in steiner if one["name"] == "Pog-NB mm"]
    assert (pog["value"], pog["sd"], pog["norms"]) == (None, None, [])


def test_tables() -> None:
    lines = format_measures(read_challenge(HEAD, 0.1, ISBI2015, ERRORS_PX)).splitlines()
    assert lines[0].split() == ["measure", "value", "±", "unit", "class"]
    assert len(lines) == 9
    assert lines[1].split()[:4] == ["ANB", "1.8", "0.8", "°"]
    assert "skeletal class III (" in lines[1]
    lines = format_measures(
        read_analysis(analysis_named("steiner"), HEAD, None, ISBI2015)
    ).splitlines()
    assert lines[0].split() == ["measure", "value", "unit", "norm", "(deviation)"]
    assert lines[1].split() == ["SNA", "82.2", "°", "82", "(+0.2)"]
    assert lines[-1].split() == ["Pog-NB", "mm", "–", "mm"]
    women_and_men = format_measures(read_analysis(analysis_named("mcnamara"), HEAD, 0.1, ISBI2015))
    assert "66.7 ± 4.1 women (-1.3 SD); 74.6 ± 5 men (-2.6 SD)" in women_and_men


def test_lists() -> None:
    text = format_analysis(analysis_named("tweed"), ISBI2015)
    assert text.startswith("tweed: Tweed (Tweed CH.")
    [line] = [line for line in text.splitlines() if line.strip().startswith("FMIA")]
    assert line.split()[-5:] == [
        "LIA",
        "LI",
        "Po",
        "Or",
        "LIA",
    ]  # the last column: what is missing
    assert "missing" not in format_analysis(analysis_named("tweed"), landmark_set("aariz"))
    assert "SN-GoGn" in format_challenge()


def test_analyses_that_a_set_allows() -> None:
    every = [one.name for one in choose_analyses([], ISBI2015)]
    assert every == [CHALLENGE, *analysis_names()]
    few = LandmarkSet("few", tuple(ISBI2015.landmarks[k] for k in (0, 1, 4)))
    assert [one.name for one in choose_analyses([], few)] == [
        "bjork",
        "burstone",
        "eastman",
        "jarabak",
        "steiner",
    ]
    with pytest.raises(
        InputError, match=r"'tweed': landmark set 'few' has .* lacks Po, Or, Go, M"
    ):
        choose_analyses(["steiner", "tweed"], few)
    with pytest.raises(InputError, match=r"'isbi2015': landmark set 'few' .* lacks Or, Po, B"):
        choose_analyses([CHALLENGE], few)
    with pytest.raises(InputError, match="'one' has the points of no measure of any analysis"):
        choose_analyses([], LandmarkSet("one", ISBI2015.landmarks[:1]))
