"""Compact checkpoints: what prediction needs of one, in half the bytes, to be handed on.

It knows checkpoints, and no network.
"""

from __future__ import annotations

from pathlib import Path

from cephray.errors import InputError, RunError
from cephray.files import is_free
from cephray.train.checkpoint import Checkpoint, save_compact


def compact(checkpoint: Checkpoint, folder: Path) -> None:
    """Write a checkpoint for prediction alone.

    Args:
        checkpoint: verified and complete.
        folder: of the compact one; empty or not there yet.

    Raises:
        InputError: the folder holds something, or a weight is too large for half precision.
        RunError: it could not be written.
    """
    if not is_free(folder):
        raise InputError(f"output {folder}: not an empty folder; give another")
    try:
        save_compact(folder, checkpoint)
    except OSError as error:
        raise RunError(f"checkpoint {folder} could not be written: {error}") from None
