"""The rows of a run in MLflow or Weights & Biases, in addition to its own history.

Server, project and credentials are those of the environment, as the libraries read them. The run's
identifier is kept in the output folder, so that a resumed run goes on in the same place. It knows
rows and settings, and nothing of training.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Literal, Protocol

from cephray.checkpoint import Row
from cephray.config import Config, flatten
from cephray.errors import InputError, Stopped
from cephray.progress import Show
from cephray.storage import Place, replace_text

Status = Literal["FINISHED", "FAILED", "KILLED"]

TRACKING_FILE = "tracking.json"
PROJECT = "cephray"
# A server that cannot be reached holds up an epoch by so much, and not by MLflow's minutes.
_MLFLOW_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
_WANDB_S = 20.0  # how long W&B may ask for a key, and try to reach its server
_MLFLOW_BATCH = 100  # parameters that it takes at a time


class _Tracker(Protocol):
    """A run in a library; what it raises is no error of the run."""

    def add(self, row: Row) -> None:
        """Take the row of an epoch."""

    def close(self, status: Status) -> None:
        """End the run."""


def require_tracker(name: str | None) -> None:
    """Refuse a library that is not installed.

    Args:
        name: of the library, or None for no library.

    Raises:
        InputError: it is not installed.
    """
    if name is not None and find_spec(name) is None:
        raise InputError(
            f"train.tracking={name}: the package is not installed: pip install 'cephray[{name}]'"
        )


@contextmanager
def tracked(config: Config, output: Place, show: Show) -> Iterator[Callable[[Row], None]]:
    """Open the run in the library that `train.tracking` names, and close it at the end.

    A run goes on if the library cannot be reached: the first failure is shown, and the rows since
    then are told with the next epoch's.

    Args:
        config: of the run.
        output: folder of the run; its name is the run's.
        show: takes the line about a failure.

    Yields:
        A function that takes the row of an epoch.
    """
    name = config.train.tracking
    if name is None:
        yield lambda row: None
        return
    waiting: list[Row] = []
    tracker: _Tracker | None = None
    has_failed = False

    def tell() -> None:
        nonlocal tracker, has_failed
        try:
            if tracker is None:
                tracker = _open(name, config, output)
            while waiting:
                tracker.add(waiting[0])
                waiting.pop(0)
            has_failed = False
        except Exception as error:  # whatever a library raises
            if not has_failed:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                show(f"{name} could not be told of the run ({reason}); the run goes on without")
            has_failed = True

    def add(row: Row) -> None:
        waiting.append(row)
        tell()

    status: Status = "FAILED"
    try:
        yield add
        status = "FINISHED"
    except Stopped:
        status = "KILLED"
        raise
    finally:
        if tracker is not None:
            try:
                tracker.close(status)
            except Exception as error:
                show(f"{name} could not be told of the run's end ({error})")


def _open(name: str, config: Config, output: Place) -> _Tracker:
    file = output / TRACKING_FILE
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    settings = flatten(config)
    if name == "mlflow":
        tracker: _Mlflow | _Wandb = _Mlflow(output.name, settings, known.get(name))
    else:
        tracker = _Wandb(output.name, settings, known.get(name))
    if known.get(name) != tracker.identifier:
        replace_text(file, json.dumps({**known, name: tracker.identifier}))
    return tracker


def _metrics(row: Row) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if name not in ("epoch", "score")}


class _Mlflow:
    """A run of MLflow; of the experiment of `MLFLOW_EXPERIMENT_NAME`, or else `PROJECT`."""

    def __init__(self, name: str, settings: dict[str, Any], identifier: str | None) -> None:
        for variable, value in _MLFLOW_LIMITS.items():
            os.environ.setdefault(variable, value)
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient()
        if identifier is not None:
            self.identifier = identifier
            self._client.update_run(identifier, status="RUNNING")
            return
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = self._client.get_experiment_by_name(title)
        number = (
            self._client.create_experiment(title)
            if experiment is None
            else experiment.experiment_id
        )
        self.identifier = str(self._client.create_run(number, run_name=name).info.run_id)
        params = [Param(key, str(value)) for key, value in settings.items()]
        for begin in range(0, len(params), _MLFLOW_BATCH):
            self._client.log_batch(self.identifier, params=params[begin : begin + _MLFLOW_BATCH])

    def add(self, row: Row) -> None:
        """Take the row of an epoch."""
        from mlflow.entities import Metric

        now_ms, epoch = int(1e3 * time.time()), int(row["epoch"])
        metrics = [Metric(name, value, now_ms, epoch) for name, value in _metrics(row).items()]
        self._client.log_batch(self.identifier, metrics=metrics)

    def close(self, status: Status) -> None:
        """End the run."""
        self._client.set_terminated(self.identifier, status)


class _Wandb:
    """A run of Weights & Biases; of the project of `WANDB_PROJECT`, or else `PROJECT`."""

    def __init__(self, name: str, settings: dict[str, Any], identifier: str | None) -> None:
        import wandb

        self.identifier = identifier or uuid.uuid4().hex[:16]
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=name,
            id=self.identifier,
            resume="allow",
            config=settings,
            # Nobody may be there to answer a question about a key.
            settings=wandb.Settings(
                silent=True, console="off", login_timeout=_WANDB_S, init_timeout=_WANDB_S
            ),
        )

    def add(self, row: Row) -> None:
        """Take the row of an epoch."""
        self._run.log(_metrics(row), step=int(row["epoch"]))

    def close(self, status: Status) -> None:
        """End the run."""
        self._run.finish(exit_code=0 if status == "FINISHED" else 1)
