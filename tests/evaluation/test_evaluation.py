"""Evaluations put together by hand: the JSON's contract, what it adds, and the lines shown."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cephray.clinical import ClassComparison
from cephray.clinical.agreement import class_agreement
from cephray.clinical.comparison import PREDICTION, TRUTH
from cephray.data import Comparison, Film
from cephray.evaluation.evaluation import Evaluation, mean_offsets_mm
from cephray.evaluation.subsets import Copies
from cephray.evaluation.text import format_evaluation
from cephray.geometry import whole_film
from cephray.landmarks import ISBI2015
from cephray.metrics import estimate
from cephray.prediction import Detection

N, K = 6, len(ISBI2015)
NAN = float("nan")


def make(copies: Copies | None = None, readers: bool = True) -> Evaluation:
    """Make an evaluation of films 1 to N; the first landmark of the first film is missing."""
    rng = np.random.default_rng(0)
    coarse, refined = rng.normal(0, 3, (N, K, 2)), rng.normal([0.5, -1], 1, (N, K, 2))
    coarse[0, 0] = refined[0, 0] = NAN
    nothing = np.zeros((K, 2), np.float32)
    return Evaluation(
        split="test1",
        ground_truth="mean",
        landmarks=ISBI2015,
        detections=tuple(
            Detection(
                Film(f"{n}", np.zeros((4, 4), np.uint8), nothing, (4, 4), 0.1, whole_film((4, 4))),
                nothing,
                nothing,
            )
            for n in range(1, N + 1)
        ),
        coarse_offset_mm=coarse,
        refined_offset_mm=refined,
        readers=(Comparison("junior", "senior", rng.gamma(2, 1, (N, K))),) if readers else (),
        copies=copies,
    )


def test_the_contract_of_the_json_holds() -> None:
    evaluation = make()
    facts = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert (facts["split"], facts["ground_truth"], facts["films"]) == ("test1", "mean", N)
    errors_mm = np.linalg.norm(evaluation.refined_offset_mm, axis=-1)
    assert facts["mre_mm"] == pytest.approx(np.nanmean(errors_mm))
    assert facts["sd_mm"] == pytest.approx(np.nanstd(errors_mm))
    for stage in (facts, facts["coarse"]):
        assert set(stage["sdr_percent"]) == {"2.0", "2.5", "3.0", "4.0"}
        assert [row["name"] for row in stage["landmarks"]] == list(ISBI2015.names)
        assert {"mre_mm", "sd_mm", "sdr_percent"} <= set(stage["landmarks"][0])
        assert [row["film"] for row in stage["films_detail"]] == list("123456")
        assert stage["films_detail"][0]["errors_mm"][0] is None
    assert facts["films_detail"][1]["errors_mm"] == pytest.approx(errors_mm[1])


def test_what_the_json_adds() -> None:
    evaluation = make(Copies({"2": "77"}, {"4": "3"}))
    facts: Any = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    for stage in (facts, facts["coarse"]):
        low, high = stage["mre_mm_interval"]
        assert low < stage["mre_mm"] < high
        for limit, (low, high) in stage["sdr_percent_interval"].items():
            assert low <= stage["sdr_percent"][limit] <= high
    assert facts["intervals"]["level_percent"] == 95
    assert facts["landmarks"][1]["mean_offset_mm"] == pytest.approx(
        evaluation.refined_offset_mm[:, 1].mean(axis=0)
    )
    assert facts["copies"] == {"in_training": {"2": "77"}, "repeated": {"4": "3"}}
    subsets = {subset["name"]: subset for subset in facts["subsets"]}
    assert {name: (s["films"], s["landmarks"]) for name, s in subsets.items()} == {
        "without_training_copies": (5, 19),
        "without_copies": (4, 19),
        "without_contested_landmarks": (6, 18),
        "without_copies_and_contested_landmarks": (4, 18),
    }
    kept = np.delete(evaluation.refined_mm, 1, axis=0)
    assert subsets["without_training_copies"]["mre_mm"] == pytest.approx(np.nanmean(kept))
    assert subsets["without_copies"]["coarse"]["films"] == 4
    (readers,) = facts["readers"]
    assert (readers["reader"], readers["against"], readers["films"]) == ("junior", "senior", N)
    assert readers["mre_mm_interval"] is not None
    assert len(readers["landmarks"]) == K


def test_without_readers_and_copies_there_is_less() -> None:
    facts = make(readers=False).to_json()
    assert facts["readers"] == []
    assert facts["copies"] is None
    assert [s["name"] for s in facts["subsets"]] == ["without_contested_landmarks"]


def test_classes_and_confidence_are_there_where_they_are_known() -> None:
    plain = make()
    assert plain.to_json()["confidence"] == plain.to_json()["classes"] == []
    assert plain.spread_mm is None
    assert "classes agree" not in format_evaluation(plain)
    sure = np.full(K, 0.9, np.float32)
    agreement = class_agreement(np.full((N, 8), 1), np.array([[1] * 8] * (N - 1) + [[2] * 8]))
    evaluation = replace(
        plain,
        detections=tuple(
            replace(detection, spread_px=sure, confidence=sure) for detection in plain.detections
        ),
        classes=(ClassComparison(PREDICTION, TRUTH, agreement),),
    )
    facts: Any = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    (classes,) = facts["classes"]
    assert classes["agreement_percent"] == pytest.approx(100 * 5 / 6)
    band = next(band for band in facts["confidence"] if band["from_percent"] == 85)
    assert band["landmarks"] == N * K - 1
    within = np.nanmean(np.where(np.isnan(evaluation.refined_mm), np.nan,
                                 evaluation.refined_mm <= 2))  # fmt: skip
    assert band["within_percent"] == pytest.approx(100 * within)
    assert evaluation.spread_mm is not None
    assert evaluation.spread_mm.shape == (N, K)
    lines = format_evaluation(evaluation).splitlines()
    assert any(line.split() == ["FHI", "83.3"] for line in lines)
    assert any(line.startswith("85% to 95%           113     90.0%") for line in lines)


def test_doubtful_films_are_told() -> None:
    plain = make()
    assert plain.to_json()["doubtful"] == {}
    assert "doubtful" not in format_evaluation(plain)
    first, *others = plain.detections
    doubted = replace(first, doubts=("it is turned", "it is small"))
    evaluation = replace(plain, detections=(doubted, *others))
    assert evaluation.to_json()["doubtful"] == {"1": ["it is turned", "it is small"]}
    assert format_evaluation(evaluation).splitlines()[-2:] == [
        f"doubtful films: 1 of {N}",
        "  1: it is turned; it is small",
    ]


def test_lines_for_the_screen() -> None:
    evaluation = make(Copies({"2": "77"}, {}))
    text = format_evaluation(evaluation)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 120
    low, high = estimate(evaluation.refined_mm).mre_mm or (NAN, NAN)
    mre = f"{evaluation.refined.summary.mre_mm:.2f} [{low:.2f}, {high:.2f}]"
    (row,) = [line for line in lines if line.startswith("MRE (mm)")]
    assert mre in row
    (row,) = [line for line in lines if line.startswith("all ")]
    assert row.split()[1:5] == ["6", *mre.split()]
    assert any(line.startswith("no copy in Training  ") for line in lines)
    assert any(line.startswith("without Soft tissue pogonion  ") for line in lines)
    assert any(line.startswith("junior reader against senior reader") for line in lines)


def test_mean_offsets_pass_over_what_is_missing() -> None:
    offset_mm = np.array([[[1.0, 2.0], [NAN, NAN]], [[3.0, -2.0], [NAN, NAN]]])
    offset_mm = np.concatenate([offset_mm, np.full((1, 2, 2), NAN)])
    np.testing.assert_array_equal(mean_offsets_mm(offset_mm), [[2.0, 0.0], [NAN, NAN]])
