"""Writing of checkpoints: what they hold is first copied into memory, then written to a folder.

A checkpoint that is in memory can be written in another thread while training goes on. It knows
no Ray and no TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load_file

from cephray.checkpoint.arrays import Arrays, write_arrays, write_blocks
from cephray.checkpoint.store import (
    CONFIG_FILE,
    MANIFEST,
    OPTIMIZER,
    PROGRESS,
    SHAPES,
    WEIGHTS_FILE,
    Checkpoint,
    Progress,
    by_path,
)
from cephray.config import Config, dump_config
from cephray.errors import InputError
from cephray.plausibility import ShapeStatistics

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, eq=False)
class Content:
    """What a checkpoint holds, in memory.

    Args:
        config: of the run.
        progress: of the run.
        weights: arrays by the paths of the model's variables.
        optimizer: arrays by the paths of the optimizer's variables. If None, the checkpoint
            cannot be resumed from.
        shapes: statistics of the training films' landmarks, or None if they are not known.
    """

    config: Config
    progress: Progress
    weights: Arrays
    optimizer: Arrays | None = None
    shapes: ShapeStatistics | None = None


def copy_arrays(variables: Iterable[keras.Variable]) -> Arrays:
    """Copy the values of variables into memory, by their paths."""
    # `numpy` copies, from the device if need be.
    return {path: np.asarray(v.numpy()) for path, v in by_path(variables).items()}


def save_checkpoint(
    folder: Path,
    config: Config,
    progress: Progress,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer | None = None,
    shapes: ShapeStatistics | None = None,
) -> None:
    """Write a checkpoint of a model into a folder.

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
    states = None if optimizer is None else copy_arrays(optimizer.variables)
    content = Content(config, progress, copy_arrays(model.variables), states, shapes)
    write_checkpoint(folder, content)


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
    content = Content(checkpoint.config, checkpoint.progress, arrays, shapes=checkpoint.shapes)
    write_checkpoint(folder, content)


def write_checkpoint(folder: Path, content: Content) -> None:
    """Write a checkpoint into a folder, the manifest last. No file is read again.

    Args:
        folder: made where it does not exist.
        content: what to write.

    Raises:
        OSError: a file could not be written; the folder is then not complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {WEIGHTS_FILE: write_arrays(folder / WEIGHTS_FILE, content.weights)}
    if content.optimizer is not None:
        manifest[OPTIMIZER] = write_arrays(folder / OPTIMIZER, content.optimizer)
    texts = {
        CONFIG_FILE: dump_config(content.config),
        PROGRESS: json.dumps(asdict(content.progress), indent=1),
    }
    if content.shapes is not None:
        texts[SHAPES] = content.shapes.to_json()
    for name, text in texts.items():
        manifest[name] = write_blocks(folder / name, [text.encode()])
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
