"""A run's rows in MLflow and in Weights & Biases, read back from what they keep."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cephray.checkpoint import Row
from cephray.config import Config, override
from cephray.errors import InputError, Stopped
from cephray.training import tracking
from cephray.training.tracking import TRACKING_FILE, require_tracker, tracked

MakeConfig = Callable[..., Config]


def row(epoch: int) -> Row:
    return {"epoch": epoch, "loss": 1 / epoch, "refined_mre_mm": 2.0625 + epoch, "score": 3.0}


def refuse(line: str) -> None:
    raise AssertionError(line)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a client of MLflow on a folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlflow").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient

    return MlflowClient()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "my-run"
    folder.mkdir()
    return folder


def one_epoch_until(error: BaseException, config: Config, output: Path) -> None:
    with tracked(config, output, refuse) as track:
        track(row(1))
        raise error


def only_run(client: Any) -> Any:
    [run] = client.search_runs([client.get_experiment_by_name("cephray").experiment_id])
    return run


def test_mlflow_has_settings_and_epochs_also_of_a_resumed_run(
    small_config: MakeConfig, client: Any, output: Path
) -> None:
    config = small_config("train.tracking=mlflow")

    with pytest.raises(Stopped):
        one_epoch_until(Stopped(15, "stopped"), config, output)
    run = only_run(client)
    assert run.info.run_name == "my-run"
    assert run.info.status == "KILLED"
    assert run.data.params["model.backbone"] == "resnet18"
    assert run.data.params["train.learning_rate"] == "0.001"
    with tracked(override(config, {"train.epochs": 9}), output, refuse) as track:
        track(row(2))
    run = only_run(client)
    assert run.info.status == "FINISHED"
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in losses] == [(1, 1.0), (2, 0.5)]
    assert set(run.data.metrics) == {"loss", "refined_mre_mm"}


def test_a_run_that_fails_is_said_to_have_failed(
    small_config: MakeConfig, client: Any, output: Path
) -> None:
    with pytest.raises(RuntimeError, match="of the run"):
        one_epoch_until(RuntimeError("of the run"), small_config("train.tracking=mlflow"), output)
    assert only_run(client).info.status == "FAILED"


def test_a_server_that_is_away_costs_a_line_and_no_row(
    small_config: MakeConfig, client: Any, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tracking._open
    lines: list[str] = []
    tries = 0

    def away(*arguments: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries <= 2:
            raise ConnectionError("no route to the server\nand more lines")
        return there(*arguments)

    monkeypatch.setattr(tracking, "_open", away)
    with tracked(small_config("train.tracking=mlflow"), output, lines.append) as track:
        for epoch in (1, 2, 3):
            track(row(epoch))
    assert lines == [
        "mlflow could not be told of the run (no route to the server); the run goes on without"
    ]
    losses = client.get_metric_history(only_run(client).info.run_id, "loss")
    assert [point.step for point in losses] == [1, 2, 3]


def test_nobody_listening_is_given_up_within_seconds(
    small_config: MakeConfig, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # "discard", closed
    lines: list[str] = []
    with tracked(small_config("train.tracking=mlflow"), output, lines.append) as track:
        track(row(1))
    assert len(lines) == 1
    assert lines[0].startswith("mlflow could not be told of the run (")
    assert not (output / TRACKING_FILE).exists()


def test_wandb_has_settings_and_epochs(
    small_config: MakeConfig, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(output.parent))
    with tracked(small_config("train.tracking=wandb"), output, refuse) as track:
        track(row(1))
    [file] = (output.parent / "wandb").glob("offline-run-*/run-*.wandb")
    deadline = time.monotonic() + 60  # a process of wandb's own writes it, when it comes to it
    while b"3.0625" not in (content := file.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    for text in ("my-run", "cephray", "model.backbone", "resnet18", "refined_mre_mm", "3.0625"):
        assert text.encode() in content
    assert b"score" not in content


def test_a_resumed_run_goes_on_in_wandb(
    small_config: MakeConfig, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs of one process share what wandb keeps of it; so it is asked for, and not run."""
    import wandb

    asked: list[dict[str, Any]] = []

    class Run:
        def log(self, values: dict[str, float], step: int) -> None:
            asked[-1]["step"] = step

        def finish(self, exit_code: int) -> None:
            asked[-1]["exit_code"] = exit_code

    def init(**options: Any) -> Run:
        asked.append(options)
        return Run()

    monkeypatch.setattr(wandb, "init", init)
    config = small_config("train.tracking=wandb")
    with pytest.raises(Stopped):
        one_epoch_until(Stopped(15, "stopped"), config, output)
    with tracked(config, output, refuse) as track:
        track(row(2))
    first, second = asked
    assert first["id"] == second["id"] == json.loads((output / TRACKING_FILE).read_text())["wandb"]
    assert (first["resume"], second["resume"]) == ("allow", "allow")
    assert (first["step"], first["exit_code"]) == (1, 1)
    assert (second["step"], second["exit_code"]) == (2, 0)


def test_a_library_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    require_tracker(None)
    with pytest.raises(InputError, match=r"pip install 'cephray\[mlflow\]'$"):
        require_tracker("mlflow")


def test_without_a_library_nothing_is_told(small_config: MakeConfig, output: Path) -> None:
    with tracked(small_config(), output, refuse) as track:
        track(row(1))
    assert list(output.iterdir()) == []
