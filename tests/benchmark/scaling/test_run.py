"""The report of the scaling benchmark, on made-up measurements, and its options."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from cephray.benchmark.scaling import run as run_module
from cephray.benchmark.scaling.group import GroupTimes
from cephray.benchmark.scaling.model import Link, Message, Ring, StepProfile, predict_step
from cephray.benchmark.scaling.run import (
    CHECKED,
    FITTED,
    GPUS,
    SIZES,
    Fit,
    advice,
    fit_and_check,
    largest_error,
    run,
    simulate,
)
from cephray.cli.__main__ import main

RING = Ring(1e-3, 2e-3, 4e-8)
PROFILES = {
    "with": StepProfile(0.2, 0.4, (Message(0.5, 1000),) * 20, (Message(0.2, 30_000_000),)),
    "without": StepProfile(0.2, 0.4, (), (Message(0.2, 30_000_000),)),
}


def made_up(workers: int, slower: float = 1.0) -> GroupTimes:
    """Return the times of a group as the model says, or slower ones."""
    steps_s = [
        predict_step(profile, lambda size: RING.time(size, workers), overlap).total_s
        for profile, overlap in zip(PROFILES.values(), (0.2, 0.6), strict=True)
    ]
    return GroupTimes(
        workers,
        [[RING.time(size, workers).total_s] * 3 for size in SIZES],
        [[slower * seconds * factor for factor in (0.9, 1.0, 1.2)] for seconds in steps_s],
    )


def test_the_model_is_fitted_to_some_groups_and_checked_on_the_others() -> None:
    groups = [made_up(workers) for workers in (*FITTED, *CHECKED)]
    fit, rows = fit_and_check(PROFILES, groups)
    assert vars(fit.ring) == pytest.approx(vars(RING))
    assert fit.overlap == pytest.approx(0.6)
    assert fit.overlap_beside_statistics == pytest.approx(0.2)
    assert [row.workers for row in rows] == [2, 3, 4, 6, 8, 12] * 2
    assert {row.workers for row in rows if row.use == "checked"} == set(CHECKED)
    assert largest_error(rows) < 1e-9


def test_a_group_that_is_checked_changes_no_prediction() -> None:
    """Steps of 12 workers that take twice as long are an error of one half, and nothing else."""
    right = [made_up(workers) for workers in (*FITTED, *CHECKED)]
    slow = [made_up(group.workers, 2.0 if group.workers == 12 else 1.0) for group in right]
    before, after = (fit_and_check(PROFILES, groups) for groups in (right, slow))
    assert after[0] == before[0]
    assert largest_error(after[1]) == pytest.approx(0.5)


def test_efficiency_falls_with_gpus_and_the_advice_names_what_costs_most() -> None:
    buckets = (Message(0.1, 500_000_000), Message(1.0, 500_000_000))
    statistics = tuple(Message(i / 60, 2048) for i in range(60))
    half = tuple(Message(position, size // 2) for position, size in buckets)
    profiles = {
        "as it is": StepProfile(0.01, 0.02, statistics, buckets),
        "model.sync_batch_norm=false": StepProfile(0.01, 0.02, (), buckets),
        "train.exchange_dtype=bfloat16": StepProfile(0.01, 0.02, statistics, half),
        "both": StepProfile(0.01, 0.02, (), half),
    }
    rows = simulate("paper", profiles, Fit(RING, 1.0, 1.0))
    fast, slow = (
        [r for r in rows if r.network == network and r.settings == "as it is"]
        for network in run_module.CLUSTERS
    )
    for some in (fast, slow):
        assert [row.gpus for row in some] == list(GPUS)
        assert some[0].efficiency == 1
        efficiencies = [row.efficiency for row in some]
        assert efficiencies == sorted(efficiencies, reverse=True)
    assert slow[-1].efficiency < fast[-1].efficiency
    text = advice(rows)
    assert "256 GPUs, 100 Gbit/s a node: train.exchange_dtype=bfloat16" in text
    assert "256 GPUs, 8 × 400 Gbit/s a node: model.sync_batch_norm=false" in text


def test_tables_file_and_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def measure(
        workers: int, link: Link, sizes: Sequence[int], profiles: Sequence[StepProfile]
    ) -> GroupTimes:
        assert list(profiles) == list(PROFILES.values())
        return made_up(workers)

    def profile(function: Any, config: Any, step_s: float) -> StepProfile:
        assert step_s == 0.016
        return PROFILES["with" if config.model.sync_batch_norm else "without"]

    monkeypatch.setattr(run_module, "measure_group", measure)
    monkeypatch.setattr(run_module, "_profiles_to_check", lambda show: PROFILES)
    monkeypatch.setattr(run_module, "in_own_process", profile)
    lines: list[str] = []
    json_path, picture = tmp_path / "scaling.json", tmp_path / "new" / "scaling.png"
    rows, simulated = run({"best": 16.0}, json_path, picture, lines.append)
    text = "\n".join(lines)
    assert "largest error where nothing was fitted: 0.0 %, at most 15 %" in text
    assert "simulated, with assumed links" in text
    content: Mapping[str, Any] = json.loads(json_path.read_text())
    assert len(content["steps"]) == len(rows) == 12
    assert len(content["simulated"]) == len(simulated) == 2 * 4 * 4
    assert content["assumed_clusters"]
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--step-ms", "best"], "--step-ms best: give a preset and milliseconds, as in best=16.0"),
        (["--step-ms", "best=-1"], "--step-ms best=-1: give a preset and milliseconds"),
        (["--step-ms", "best=nan"], "--step-ms best=nan: give a preset and milliseconds"),
        (["--step-ms", "large=3"], "--step-ms large=3: no preset 'large'; there are best"),
        (["--data", "films"], "benchmark scaling takes no --data; it takes --json, --picture"),
    ],
)
def test_wrong_options_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", "scaling", *words]) == 2
    assert message in capsys.readouterr().err
