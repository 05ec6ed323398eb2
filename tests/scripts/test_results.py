"""The script of docs/results.md: rows come from runs, are kept, and say where they come from."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

import cephray
from cephray.config import Config
from cephray.evaluation import evaluate
from tests.conftest import SMALL
from tests.scripts.loading import load_script


@pytest.fixture(scope="module")
def results() -> ModuleType:
    return load_script("results")


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    own = [*SMALL, "train.epochs=1"]
    tree = {
        "runs": {f"small-{seed}": {"config": None, "set": [*own, f"train.seed={seed}"]}
                 for seed in range(2)},
        "tables": [{"title": "Drawn films", "split": "test1", "choices": 3, "rows": [
            {"name": "one", "title": "seed 0", "runs": ["small-0"], "subsets": True},
            {"name": "two", "title": "seed 1", "runs": ["small-1"]},
            {"name": "both", "title": "mean", "mean_of": ["one", "two"]},
        ]}],
    }  # fmt: skip
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


class Found:
    """An evaluation, of which only the plain values are asked for."""

    def __init__(self, mre_mm: float) -> None:
        one = {
            "title": "all", "films": 4, "mre_mm": mre_mm,
            "mre_mm_interval": [mre_mm - 0.1, mre_mm + 0.1],
            "sdr_percent": {"2.0": 80.0, "2.5": 85.0, "3.0": 90.0, "4.0": 95.0},
            "sdr_percent_interval": {"2.0": [75.0, 85.0]},
        }  # fmt: skip
        self.tree = {**one, "coarse": one, "subsets": [{**one, "title": "some", "coarse": one}]}

    def to_json(self) -> dict[str, Any]:
        return self.tree


def test_rows_come_from_their_runs(
    results: ModuleType, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    trained: list[tuple[str, int]] = []

    def train(config: Config, *, output: Path, resume: bool, **given: Any) -> Any:
        assert resume
        trained.append((output.name, config.train.seed))
        history = [{"seconds": 60.0}, {"seconds": 90.0}]
        return SimpleNamespace(progress=SimpleNamespace(history=history))

    def evaluate(checkpoints: list[Path], *, split: str, **given: Any) -> Found:
        assert split == "test1"
        return Found(1.0 + float(checkpoints[0].name.rpartition("-")[2]))

    monkeypatch.setattr(results, "train", train)
    monkeypatch.setattr(results, "evaluate", evaluate)
    given = ["--data", "films", "--output", str(output), "--plan", str(plan)]
    assert results.main([*given, "--only", "one"]) == 0
    assert list(json.loads((output / "results.json").read_text())) == ["one"]
    assert results.main(given) == 0
    assert trained == [("small-0", 0), ("small-0", 0), ("small-1", 1)]
    rows = json.loads((output / "results.json").read_text())
    assert list(rows) == ["one", "two", "both"]
    assert [row["mre_mm"] for row in rows.values()] == [1.0, 2.0, 1.5]
    assert rows["one"]["training_minutes"] == [2.5]
    assert rows["two"]["runs"]["small-1"]["set"][-1] == "train.seed=1"
    assert rows["one"]["version"] == cephray.__version__
    page = (output / "results.md").read_text()
    assert "Settings compared on these films: 3." in page
    rates = "80.0 [75.0, 85.0] / 85.0 / 90.0 / 95.0"
    assert f"| seed 0 | 4 | 1.00 [0.90, 1.10] | {rates} | 1.00 [0.90, 1.10] | 2 min |" in page
    assert "| seed 0, some | 4 |" in page
    assert "| seed 1, some |" not in page
    assert "| mean | 4 | 1.50 | 80.0 / 85.0 / 90.0 / 95.0 | 1.50 |  |" in page


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_row_is_trained_and_measured(
    results: ModuleType, films: Path, plan: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    given = ["--data", str(films), "--output", str(output), "--plan", str(plan), "--only", "one"]
    assert results.main(given) == 0
    first = json.loads((output / "results.json").read_text())
    manifests = sorted((output / "small-0").rglob("manifest.json"))
    times = [path.stat().st_mtime for path in manifests]
    assert results.main(given) == 0
    assert [path.stat().st_mtime for path in manifests] == times  # not trained again
    assert json.loads((output / "results.json").read_text()) == first
    found = evaluate(output / "small-0", data=films, split="test1").to_json()
    assert first["one"]["mre_mm"] == found["mre_mm"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (["--only", "three"], "--only three: no such row; there are one, two, both"),
        (["--only", "both"], "--only both: measure one, two first"),
    ],
)
def test_rows_that_cannot_be_measured(
    results: ModuleType, films: Path, plan: Path, tmp_path: Path, row: list[str], said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given = ["--data", str(films), "--output", str(tmp_path / "out"), "--plan", str(plan), *row]
    assert results.main(given) == 2
    assert said in capsys.readouterr().err


def test_the_plan_of_the_project_can_be_run(results: ModuleType) -> None:
    from cephray.config import load_config

    runs, tables = results.read_plan()
    for run in runs.values():
        load_config(run["config"], run["set"])
    names = [row.name for table in tables for row in table.rows]
    assert len(set(names)) == len(names)
    used = {run for table in tables for row in table.rows for run in row.runs}
    assert used >= set(runs)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"runs": ["gone"]}, "row one: unknown gone"),
        ({"runs": []}, "row one: give runs, or rows to take the mean of"),
        ({"mean_of": ["two"]}, "row one: give runs, or rows to take the mean of"),
        ({"runs": ["small-0", "included"]}, "row one: included cannot be in an ensemble"),
    ],
)
def test_a_row_that_cannot_be_is_named(
    results: ModuleType, plan: Path, changed: dict[str, list[str]], said: str
) -> None:
    tree = yaml.safe_load(plan.read_text())
    tree["tables"][0]["rows"][0].update(changed)
    plan.write_text(yaml.safe_dump(tree))
    with pytest.raises(results.InputError, match=said):
        results.read_plan(plan)
