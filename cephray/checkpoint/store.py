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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.numpy import load_file

from cephray.config import Config, load_config
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
        if self.config.model.adapted and self.config.inference.convention == "original":
            model.get_layer("refinement").discard_change()

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
        targets = by_path(variables)
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


def open_checkpoint(folder: Place, read_arrays: bool = True) -> Checkpoint:
    """Verify a checkpoint and read its settings.

    Args:
        folder: of the checkpoint.
        read_arrays: compare the content of every local file with its digest. If False, only the
            sizes of the files of arrays are compared.

    Raises:
        InputError: the folder is not a complete checkpoint; names the file at fault.
    """
    fault = _fault(folder, read_arrays)
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


def checkpoints_in(run: Place, read_arrays: bool = True) -> list[Checkpoint]:
    """Open every complete checkpoint of a run's folder, the oldest first.

    Args:
        run: output folder of the run.
        read_arrays: as in `open_checkpoint`.
    """
    folders = (path.parent for path in run.glob(f"*/{MANIFEST}"))
    complete = [_read(folder) for folder in folders if _fault(folder, read_arrays) is None]
    return sorted(complete, key=lambda found: (found.progress.epoch, found.progress.step))


def intact_checkpoint(run: Place) -> str:
    """Return which checkpoint of a run that failed is intact, for its message."""
    complete = checkpoints_in(run)
    if not complete:
        return "there was no complete checkpoint yet"
    return f"the checkpoint of {complete[-1].progress} is intact"


def last_intact(run: Place) -> str:
    """Return what a failed run can be resumed from, for the end of its message."""
    try:
        intact = intact_checkpoint(run)
    except (InputError, RunError):  # of a store; this only ends another message
        return "its checkpoints cannot be listed now: go on with --resume"
    return f"{intact}: go on with --resume"


def find_checkpoint(path: Place, read_arrays: bool = True) -> Checkpoint:
    """Open a checkpoint, or the best one of a run's folder.

    Args:
        path: a checkpoint, or the output folder of `cephray train`.
        read_arrays: as in `open_checkpoint`.

    Raises:
        InputError: there is none, or it is not complete.
    """
    if not path.is_dir():
        raise InputError(f"checkpoint {path}: no such folder")
    if (path / MANIFEST).exists() or (path / WEIGHTS_FILE).exists():
        return open_checkpoint(path, read_arrays)
    complete = checkpoints_in(path, read_arrays)
    if not complete:
        raise InputError(
            f"checkpoint {path}: neither a checkpoint (no {MANIFEST}) nor the output folder of "
            "`cephray train` with a complete one"
        )
    return min(complete, key=lambda checkpoint: checkpoint.progress.score)


def _fault(folder: Place, read_arrays: bool) -> str | None:
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
        is_array = name not in (CONFIG_FILE, PROGRESS, SHAPES)
        if is_array and not (read_arrays and isinstance(path, Path)):
            continue
        if _sha256(path) != entry["sha256"]:
            return f"{name} was changed after it was written"
    return None


def _sha256(path: Place) -> str:
    if isinstance(path, Path):
        return digest(path)
    return hashlib.sha256(path.read_text().encode()).hexdigest()


def by_path(variables: Iterable[keras.Variable]) -> dict[str, keras.Variable]:
    """Return variables by their paths.

    Raises:
        ValueError: two of them share a path.
    """
    listed = list(variables)
    found = {variable.path: variable for variable in listed}
    if len(found) != len(listed):
        raise ValueError("two variables share a path; give their layers names of their own")
    return found
