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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from cephray.config import Config, dump_config, load_config
from cephray.errors import InputError
from cephray.storage import Place, digest, fetched

if TYPE_CHECKING:
    import keras

MANIFEST, CONFIG, PROGRESS = "manifest.json", "config.yaml", "progress.json"
WEIGHTS, OPTIMIZER = "weights.safetensors", "optimizer.safetensors"

Row = dict[str, float]


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    `history` holds one row per finished epoch; `data_fingerprint` tells the training and
    validation films apart from any others.
    """

    epoch: int = 0
    data_fingerprint: str = ""
    history: list[Row] = field(default_factory=list)

    def advance(self, row: Row) -> Progress:
        """Return the progress after one more epoch."""
        return Progress(self.epoch + 1, self.data_fingerprint, [*self.history, row])

    @property
    def score(self) -> float:
        """Score of the last epoch, less is better; infinite before the first."""
        return self.history[-1]["score"] if self.history else float("inf")


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: what it holds, and the way to its arrays."""

    folder: Place
    config: Config
    progress: Progress

    def load_weights(self, model: keras.Model) -> None:
        """Fill the model, batch-normalisation statistics included.

        Raises:
            InputError: names the first variable that is missing, left over or of another shape.
        """
        self._fill(WEIGHTS, model.variables)

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
        return fetched(self.folder / name, manifest[name]["sha256"])

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
            variable.assign(arrays[path])


def save_checkpoint(
    folder: Path,
    config: Config,
    progress: Progress,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer | None = None,
) -> None:
    """Write a checkpoint into a folder, the manifest last.

    Args:
        folder: made where it does not exist.
        config: of the run.
        progress: of the run.
        model: its weights are saved.
        optimizer: without it the checkpoint cannot be resumed from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_arrays(model.variables), folder / WEIGHTS)
    if optimizer is not None:
        save_file(_arrays(optimizer.variables), folder / OPTIMIZER)
    (folder / CONFIG).write_text(dump_config(config), encoding="utf-8")
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
        InputError: the folder is no checkpoint, or not a complete one; names the file at fault.
    """
    fault = _fault(folder)
    if fault is not None:
        raise InputError(f"checkpoint {folder}: {fault}")
    return _read(folder)


def _read(folder: Place) -> Checkpoint:
    """Read the settings of a checkpoint that has been verified."""
    progress = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
    return Checkpoint(folder, load_config(folder / CONFIG), Progress(**progress))


def checkpoints_in(run: Place) -> list[Checkpoint]:
    """Open every complete checkpoint of a run's folder, the oldest first."""
    folders = (path.parent for path in run.glob(f"*/{MANIFEST}"))
    complete = [_read(folder) for folder in folders if _fault(folder) is None]
    return sorted(complete, key=lambda checkpoint: checkpoint.progress.epoch)


def find_checkpoint(path: Place) -> Checkpoint:
    """Open a checkpoint, or the best one of a run's folder.

    Args:
        path: a checkpoint, or the output folder of `cephray train`.

    Raises:
        InputError: there is none, or it is not complete.
    """
    if not path.is_dir():
        raise InputError(f"checkpoint {path}: no such folder")
    if (path / MANIFEST).exists() or (path / WEIGHTS).exists():
        return open_checkpoint(path)
    complete = checkpoints_in(path)
    if not complete:
        raise InputError(
            f"checkpoint {path}: neither a checkpoint (no {MANIFEST}) nor the output folder of "
            "`cephray train` with a complete one"
        )
    return min(complete, key=lambda checkpoint: checkpoint.progress.score)


def _fault(folder: Place) -> str | None:
    """Say what is wrong with a checkpoint, or nothing.

    The content of remote arrays is not read here: it is checked when it is fetched.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except OSError:
        return f"not complete: {MANIFEST} is missing"
    except ValueError:
        return f"not complete: {MANIFEST} is cut short"
    for name in (CONFIG, PROGRESS, WEIGHTS):
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
    """Return the digest of a file's content; none of a remote file of arrays."""
    if isinstance(path, Path):
        return digest(path)
    if path.name in (CONFIG, PROGRESS):
        return hashlib.sha256(path.read_text().encode()).hexdigest()
    return None


def _arrays(variables: Iterable[keras.Variable]) -> dict[str, NDArray[Any]]:
    return {
        path: np.asarray(variable.numpy(), order="C")
        for path, variable in _by_path(variables).items()
    }


def _by_path(variables: Iterable[keras.Variable]) -> dict[str, keras.Variable]:
    listed = list(variables)
    by_path = {variable.path: variable for variable in listed}
    if len(by_path) != len(listed):
        raise ValueError("two variables share a path; give their layers names of their own")
    return by_path
