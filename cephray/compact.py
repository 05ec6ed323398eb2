"""Compact checkpoints: what prediction needs of one, in half the bytes, to be handed on.

It knows checkpoints and configurations, and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cephray.config import Config, override, parse_overrides
from cephray.errors import InputError, RunError
from cephray.train.checkpoint import Checkpoint, save_compact

_SECTION = "inference."


def compact(checkpoint: Checkpoint, folder: Path) -> None:
    """Write a checkpoint for prediction alone.

    Args:
        checkpoint: verified and complete.
        folder: of the compact one; empty or not there yet.

    Raises:
        InputError: the folder holds something, or a weight is too large for half precision.
        RunError: it could not be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"output {folder}: not an empty folder; give another")
    try:
        save_compact(folder, checkpoint)
    except OSError as error:
        raise RunError(f"checkpoint {folder} could not be written: {error}") from None


def with_inference(config: Config, overrides: Sequence[str]) -> Config:
    """Change how a trained network is used; what it is stays.

    Raises:
        InputError: an override is of another section, or not valid.
    """
    values = parse_overrides(overrides)
    for key in values:
        if not key.startswith(_SECTION):
            raise InputError(
                f"--set {key}: is settled in a trained network; {_SECTION}… can be set"
            )
    return override(config, values)
