"""Searches that train: what fails is a result, what is killed goes on, the best can be had again.

The short ones run in a cluster of this process, the slow ones as a command that is killed.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from cephray.config import Config, load_config
from tests.conftest import SMALL
from tests.training.processes import TRIAL, ray_processes, started, wait_until
from tests.training.test_driver import launch
from tune.drivers import driving
from tune.leaderboard import BEST, LEADERBOARD
from tune.objectives import SECOND, Second
from tune.outcome import DRIVER, REASON, trial_folder
from tune.report import PAGE
from tune.search import main, search
from tune.settings import JOURNAL, Search, Settings
from tune.space import load_space
from tune.study import open_storage, open_study

MakeConfig = Callable[..., Config]

# Each value is valid with the others' own ones; only some combinations are not.
RISKY = """
train.learning_rate: {choice: [1.0e-3, 1.0e+30]}
train.cpus_per_worker: {choice: [1, 64]}
train.wait_for_resources_s: {choice: [60, 2]}
augment.crop.min_margin: {choice: [0.05, 0.08]}
augment.crop.max_margin: {choice: [0.08, 0.05]}
"""


def study_of(output: Path) -> optuna.Study:
    [name] = optuna.get_all_study_names(storage := open_storage(None, output))
    return optuna.load_study(study_name=name, storage=storage)


@pytest.mark.slow
def test_failed_trials_are_named_and_the_best_can_be_had_again(
    cluster: None,
    films: Path,
    tmp_path: Path,
    small_config: MakeConfig,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "search"
    output.mkdir()
    (tmp_path / "space.yaml").write_text(RISKY)
    base = small_config(
        "model.backbone=vgg16",  # compiles in half of ResNet18's time
        "train.epochs=1",
        "train.cpus_per_worker=1",
        "train.wait_for_resources_s=60",
        "data.validation=test1",
    )
    space = load_space(str(tmp_path / "space.yaml"), base)
    settings = Settings(
        output,
        Search(data=str(films), trials=4, grace_epochs=1, study_name="search"),
        base,
        space,
    )
    baseline = space.baseline(base)
    study = open_study(open_storage(None, output), "search", settings.objectives)
    for changed in (
        {},
        {"augment.crop.min_margin": 0.08, "augment.crop.max_margin": 0.05},
        {"train.cpus_per_worker": 64, "train.wait_for_resources_s": 2},
        {"train.learning_rate": 1e30},
    ):
        study.enqueue_trial({**baseline, **changed})
    with driving(output, join=False) as driver:
        search(settings, driver)

    study = study_of(output)
    good, raised, too_large, diverged = study.trials
    assert good.state == TrialState.COMPLETE
    assert {t.state for t in (raised, too_large, diverged)} == {TrialState.FAIL}
    said = capsys.readouterr().out
    page = (output / PAGE).read_text()
    for trial, reason in (
        (raised, "min_margin must not exceed max_margin"),
        (too_large, "asked for 1 worker of 64 CPUs each, the cluster has 1 node with 2 CPUs"),
        (diverged, "the loss is"),
    ):
        assert reason in trial.user_attrs[REASON]
        assert f"trial {trial.number} failed: " in said
        assert reason in said
        assert reason in page

    again = launch(films, tmp_path / "again", load_config(output / BEST))
    assert again.progress.score == good.value
    assert errors_in(tmp_path / "again") == errors_in(trial_folder(output, 0))


def errors_in(run: Path) -> list[str]:
    with (run / "history.csv").open() as file:
        return [row["refined_mre_mm"] for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--trials", "0"], "--trials: Input should be greater than 0; got 0"),
        (["--max-concurrent", "0"], "--max-concurrent: must be at least 1; got 0"),
        (["--set", "train.num_workers=100"], "100 workers"),
        (["--storage", "nosuch://x"], "storage nosuch://x: cannot be opened"),
        (["--set", "model.roi_pool_size=4"], "own value 4 is not among 3, 5, 7, 9"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    options: list[str],
    said: str,
    films: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "search"
    arguments = ["--data", str(films), "--output", str(output), *options]
    sets = [part for text in SMALL if "roi_pool" not in text for part in ("--set", text)]
    assert main([*sets, *arguments]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert said in line
    assert not list(output.glob("*.yaml"))


def test_what_the_parser_refuses(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for options in (["--validation", "test2"], ["--trails", "3"], []):
        with pytest.raises(SystemExit) as ended:
            main(["--data", "films", *(["--output", str(tmp_path)] if options else []), *options])
        assert ended.value.code == 2
        assert "--validation" in capsys.readouterr().err


@contextmanager
def searching(
    films: Path,
    output: Path,
    *options: str,
) -> Iterator[subprocess.Popen[str]]:
    """Start a search of small trials, two at a time."""
    overrides = [*(o for o in SMALL if "validation" not in o), "train.cpus_per_worker=1"]
    overrides += ["model.roi_pool_size=5", "train.epochs=4"]
    with started("tune.search", "", films, output, overrides, options) as process:
        yield process


def ended_rows(output: Path) -> list[dict[str, str]]:
    try:
        with (output / LEADERBOARD).open() as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []


def succeeds(process: subprocess.Popen[str]) -> str:
    said, errors = process.communicate(timeout=1500)
    assert process.returncode == 0, errors
    assert errors == ""
    return said


def assert_all_once(output: Path, count: int) -> None:
    trials = study_of(output).trials
    assert [trial.number for trial in trials] == list(range(count))
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert sorted(int(row["trial"]) for row in ended_rows(output)) == list(range(count))
    drawn = [tuple(trial.params.values()) for trial in trials]
    assert len(set(drawn)) == count


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("number", "at", "count"), [(signal.SIGKILL, 5, 16), (signal.SIGTERM, 2, 5)]
)
def test_a_search_goes_on_where_its_driver_was_ended(
    number: signal.Signals,
    at: int,
    count: int,
    films: Path,
    tmp_path: Path,
) -> None:
    output = tmp_path / "search"
    with searching(films, output, f"--trials={count}") as process:
        wait_until(lambda: len(ended_rows(output)) >= at, f"trial {at}", 900)
        os.kill(process.pid, number)
        _, said = process.communicate(timeout=120)
    if number == signal.SIGTERM:
        assert process.returncode == 143
        assert "finished trials are kept: go on with --resume" in said
        assert len(said.strip().splitlines()) == 1
    before = {row["trial"]: row for row in ended_rows(output)}
    times = {t.number: t.datetime_complete for t in study_of(output).trials}
    with searching(films, output, f"--trials={count}", "--resume") as process:
        said = succeeds(process)
    assert f"{count}/{count} trials" in said
    assert_all_once(output, count)
    for row in ended_rows(output):  # what had ended was left alone
        if row["trial"] in before:
            assert {**row, "best": ""} == {**before[row["trial"]], "best": ""}
    for trial in study_of(output).trials:
        if times.get(trial.number) is not None:
            assert trial.datetime_complete == times[trial.number]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_drivers_share_a_search_and_one_takes_up_what_the_other_left(
    films: Path, tmp_path: Path
) -> None:
    output = tmp_path / "search"
    options = ("--trials=6", "--max-concurrent=1", "--join")
    with searching(films, output, *options) as one, searching(films, output, *options) as other:

        def owners() -> list[str]:
            trials = study_of(output).trials if (output / JOURNAL).exists() else []
            return [trial.user_attrs.get(DRIVER, "") for trial in trials]

        wait_until(lambda: len({*owners()} - {""}) == 2, "trials of both", 900)
        wait_until(lambda: len(ended_rows(output)) >= 2, "two trials", 900)
        os.kill(one.pid, signal.SIGKILL)
        one.communicate(timeout=120)
        succeeds(other)
    assert_all_once(output, 6)
    assert len(set(owners())) == 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["ray::RayTrainWorker", TRIAL])
def test_a_killed_process_of_a_trial_costs_no_trial(
    kind: str,
    films: Path,
    tmp_path: Path,
) -> None:
    output = tmp_path / "search"
    options = ("--trials=2", "--max-concurrent=1", "--set=train.epochs=8")
    with searching(films, output, *options) as process:
        manifest = trial_folder(output, 0) / "epoch-0001/manifest.json"
        wait_until(manifest.exists, "first checkpoint")
        [victim] = ray_processes(process.pid, kind)
        os.kill(victim, signal.SIGKILL)
        succeeds(process)
    assert_all_once(output, 2)
    disturbed = study_of(output).trials[0]
    with searching(films, tmp_path / "again", *options) as process:
        succeeds(process)
    undisturbed = study_of(tmp_path / "again").trials[0]
    assert disturbed.value == undisturbed.value
    assert disturbed.intermediate_values == undisturbed.intermediate_values


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("second", ["latency", "parameters"])
def test_the_front_of_two_objectives(
    second: Second,
    films: Path,
    tmp_path: Path,
) -> None:
    output = tmp_path / "search"
    with searching(films, output, "--trials=6", f"--second-objective={second}") as process:
        succeeds(process)
    assert_all_once(output, 6)
    rows = ended_rows(output)
    key = SECOND[second].key
    points = {row["trial"]: (float(row["mre_mm"]), float(row[key])) for row in rows}
    front = {
        trial
        for trial, (mre, cost) in points.items()
        if not any(m <= mre and c <= cost and (m < mre or c < cost) for m, c in points.values())
    }
    assert {row["trial"] for row in rows if row["best"]} == front
