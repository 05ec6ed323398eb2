"""Checkpoints: weights, optimiser, progress, configuration and data fingerprint, all or nothing.

A checkpoint is a folder that alone suffices to evaluate, predict and resume. Its manifest, with
the size and SHA-256 of every other file, is written last: a folder that was cut short at any
point does not match it and is never loaded. Arrays lie in safetensors files, settings in YAML
and JSON; nothing is ever unpickled. Of a checkpoint in an object store, arrays are fetched when
they are used. It knows no Ray and no TensorFlow, so that weights trained on another Keras backend
load as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from cephray.config import Config, dump_config, load_config
from cephray.errors import InputError, RunError
from cephray.plausibility import ShapeStatistics
from cephray.storage import Place, digest, fetch_verified

if TYPE_CHECKING:
    import keras

MANIFEST, CONFIG_FILE, PROGRESS = "manifest.json", "config.yaml", "progress.json"
SHAPES = "shapes.json"
WEIGHTS_FILE, OPTIMIZER = "weights.safetensors", "optimizer.safetensors"

Row = dict[str, float]


@dataclass(frozen=True)
class Progress:
    """The progress of a run.

    `epoch` counts the finished ones and `history` holds a row of each; `data_fingerprint` tells
    the training and validation films apart from any others. A run that was stopped within an
    epoch also has `step_sums`, the reports of the steps taken in that epoch.
    """

    epoch: int = 0
    data_fingerprint: str = ""
    history: list[Row] = field(default_factory=list)
    step_sums: list[list[float]] = field(default_factory=list)

    def advance(self, row: Row) -> Progress:
        """Return the progress after one more epoch."""
        return Progress(self.epoch + 1, self.data_fingerprint, [*self.history, row])

    def within_epoch(self, step_sums: list[list[float]]) -> Progress:
        """Return the progress after some steps of the epoch after the last finished one."""
        return replace(self, step_sums=step_sums)

    @property
    def step(self) -> int:
        """Steps taken in the epoch under way; 0 between epochs."""
        return len(self.step_sums)

    @property
    def score(self) -> float:
        """Score of the last epoch, less is better; infinite within an epoch."""
        return self.history[-1]["score"] if self.history and not self.step else float("inf")

    def __str__(self) -> str:
        """Name the point reached, as messages do."""
        return f"epoch {self.epoch + 1}, step {self.step}" if self.step else f"epoch {self.epoch}"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: what it holds, and the way to its arrays."""

    folder: Place
    config: Config
    progress: Progress
    shapes: ShapeStatistics | None = None  # of the training films; None in an old checkpoint

    def load_weights(self, model: keras.Model) -> None:
        """Fill the model, batch-normalisation statistics included.

        Raises:
            InputError: names the first variable that is missing, left over or of another shape.
        """
        self._fill(WEIGHTS_FILE, model.variables)

    def load_optimizer(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Fill a built optimiser: step count and moments.

        Raises:
            InputError: as in `load_weights`.
        """
        self._fill(OPTIMIZER, optimizer.variables)

    def file(self, name: str) -> Path:
        """Return one of the files on this machine; a remote one is fetched and verified.

        Raises:
            InputError: its content is not what the manifest says.
        """
        if isinstance(self.folder, Path):
            return self.folder / name
        manifest = json.loads((self.folder / MANIFEST).read_text())
        return fetch_verified(self.folder / name, manifest[name]["sha256"])

    def _fill(self, name: str, variables: Iterable[keras.Variable]) -> None:
        arrays = load_file(self.file(name))
        targets = _by_path(variables)
        where = f"checkpoint {self.folder}, {name}"
        for path in targets.keys() ^ arrays.keys():
            state = "is missing there" if path in targets else "is not part of this model"
            raise InputError(f"{where}: variable {path!r} {state}; use the configuration it has")
        for path, variable in targets.items():
            if tuple(variable.shape) != arrays[path].shape:
                raise InputError(
                    f"{where}: variable {path!r} has shape {list(arrays[path].shape)}; "
                    f"the model needs {list(variable.shape)}"
                )
        for path, variable in targets.items():
            # Weights of a compact checkpoint are stored in half precision.
            variable.assign(arrays[path].astype(variable.dtype))


def save_checkpoint(
    folder: Path,
    config: Config,
    progress: Progress,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer | None = None,
    shapes: ShapeStatistics | None = None,
) -> None:
    """Write a checkpoint into a folder, the manifest last.

    Args:
        folder: made where it does not exist.
        config: of the run.
        progress: of the run.
        model: its weights are saved.
        optimizer: without it the checkpoint cannot be resumed from.
        shapes: statistics of the training films' landmarks, or None if they are not known.

    Raises:
        OSError: a file could not be written; the folder is then not complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _save_arrays(model.variables, folder / WEIGHTS_FILE)
    if optimizer is not None:
        _save_arrays(optimizer.variables, folder / OPTIMIZER)
    _finish(folder, config, progress, shapes)


def save_compact(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint for prediction alone: half precision, no optimiser.

    Args:
        folder: made where it does not exist; empty.
        checkpoint: its weights are written, rounded to float16.

    Raises:
        InputError: a weight is too large for half precision.
        OSError: a file could not be written; the folder is then not complete.
    """
    arrays = load_file(checkpoint.file(WEIGHTS_FILE))
    for name, array in arrays.items():
        if array.dtype == np.float32:  # others are counters and seeds
            if np.abs(array).max(initial=0) > np.finfo(np.float16).max:
                raise InputError(
                    f"checkpoint {checkpoint.folder}: variable {name!r} reaches "
                    f"{np.abs(array).max():g}, which half precision cannot hold"
                )
            arrays[name] = array.astype(np.float16)
    folder.mkdir(parents=True, exist_ok=True)
    _save_file(arrays, folder / WEIGHTS_FILE)
    _finish(folder, checkpoint.config, checkpoint.progress, checkpoint.shapes)


def _finish(
    folder: Path, config: Config, progress: Progress, shapes: ShapeStatistics | None
) -> None:
    """Write settings, progress and statistics beside the arrays, and then the manifest."""
    if shapes is not None:
        (folder / SHAPES).write_text(shapes.to_json(), encoding="utf-8")
    (folder / CONFIG_FILE).write_text(dump_config(config), encoding="utf-8")
    (folder / PROGRESS).write_text(json.dumps(asdict(progress), indent=1), encoding="utf-8")
    manifest = {
        path.name: {"bytes": path.stat().st_size, "sha256": digest(path)}
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def open_checkpoint(folder: Place) -> Checkpoint:
    """Verify a checkpoint and read its settings.

    Raises:
        InputError: the folder is not a complete checkpoint; names the file at fault.
    """
    fault = _fault(folder)
    if fault is not None:
        raise InputError(f"checkpoint {folder}: {fault}")
    return _read(folder)


def _read(folder: Place) -> Checkpoint:
    """Read the settings of a checkpoint that has been verified."""
    progress = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
    shapes = folder / SHAPES
    return Checkpoint(
        folder,
        load_config(folder / CONFIG_FILE),
        Progress(**progress),
        ShapeStatistics.from_json(shapes.read_text(encoding="utf-8"))
        if shapes.is_file()
        else None,
    )


def checkpoints_in(run: Place) -> list[Checkpoint]:
    """Open every complete checkpoint of a run's folder, the oldest first."""
    folders = (path.parent for path in run.glob(f"*/{MANIFEST}"))
    complete = [_read(folder) for folder in folders if _fault(folder) is None]
    return sorted(complete, key=lambda found: (found.progress.epoch, found.progress.step))


def last_intact(run: Place) -> str:
    """Return what a failed run can be resumed from, for the end of its message."""
    try:
        complete = checkpoints_in(run)
    except (InputError, RunError):  # of a store; this only ends another message
        return "its checkpoints cannot be listed now: go on with --resume"
    if not complete:
        return "no epoch had ended yet, so there is no checkpoint: start again with --resume"
    return f"the checkpoint of {complete[-1].progress} is intact: go on with --resume"


def find_checkpoint(path: Place) -> Checkpoint:
    """Open a checkpoint, or the best one of a run's folder.

    Args:
        path: a checkpoint, or the output folder of `cephray train`.

    Raises:
        InputError: there is none, or it is not complete.
    """
    if not path.is_dir():
        raise InputError(f"checkpoint {path}: no such folder")
    if (path / MANIFEST).exists() or (path / WEIGHTS_FILE).exists():
        return open_checkpoint(path)
    complete = checkpoints_in(path)
    if not complete:
        raise InputError(
            f"checkpoint {path}: neither a checkpoint (no {MANIFEST}) nor the output folder of "
            "`cephray train` with a complete one"
        )
    return min(complete, key=lambda checkpoint: checkpoint.progress.score)


def _fault(folder: Place) -> str | None:
    """Return what is wrong with a checkpoint, or None.

    The content of remote arrays is not read here: it is checked when it is fetched.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except OSError:
        return f"not complete: {MANIFEST} is missing"
    except ValueError:
        return f"not complete: {MANIFEST} is cut short"
    for name in (CONFIG_FILE, PROGRESS, WEIGHTS_FILE):
        if name not in manifest:
            return f"not complete: {MANIFEST} does not list {name}"
    for name, entry in manifest.items():
        if Path(name).name != name or name == "..":
            return f"{MANIFEST} names {name!r}, which is no file of this folder"
        path = folder / name
        if not path.is_file():
            return f"not complete: {name} is missing"
        size = path.stat().st_size if isinstance(path, Path) else path.size
        if size != entry["bytes"]:
            return f"not complete: {name} has {size} of {entry['bytes']} bytes"
        if _sha256(path) not in (entry["sha256"], None):
            return f"{name} was changed after it was written"
    return None


def _sha256(path: Place) -> str | None:
    """Return the digest of a file's content, or None for a remote file of arrays."""
    if isinstance(path, Path):
        return digest(path)
    if path.name in (CONFIG_FILE, PROGRESS, SHAPES):
        return hashlib.sha256(path.read_text().encode()).hexdigest()
    return None


def _save_arrays(variables: Iterable[keras.Variable], path: Path) -> None:
    arrays: dict[str, NDArray[Any]] = {
        name: np.asarray(variable.numpy(), order="C")
        for name, variable in _by_path(variables).items()
    }
    _save_file(arrays, path)


def _save_file(arrays: dict[str, NDArray[Any]], path: Path) -> None:
    path.touch()
    mode = path.stat().st_mode  # the library's own is for the owner alone
    try:
        save_file(arrays, path)
        path.chmod(mode)
    except SafetensorError as error:  # what the library makes of a full disk
        raise OSError(f"{path}: {error}") from error


def _by_path(variables: Iterable[keras.Variable]) -> dict[str, keras.Variable]:
    listed = list(variables)
    by_path = {variable.path: variable for variable in listed}
    if len(by_path) != len(listed):
        raise ValueError("two variables share a path; give their layers names of their own")
    return by_path
