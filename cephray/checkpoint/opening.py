"""Checkpoints by their paths, or the one that is shipped.

It knows paths and configurations, and loads no weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cephray.checkpoint.shipped import shipped_checkpoint
from cephray.checkpoint.store import Checkpoint, find_checkpoint
from cephray.config import with_inference
from cephray.storage import Place, RemotePath, place

INCLUDED = "included"
"""Name of the checkpoint that comes with cephray."""


def open_checkpoints(
    checkpoints: str | Place | Sequence[str | Place] | None = None, overrides: Sequence[str] = ()
) -> list[Checkpoint]:
    """Open one checkpoint, or several of an ensemble.

    Args:
        checkpoints: Path or URI of a checkpoint or of a run's output folder, or several. If None,
            the shipped checkpoint is opened.
        overrides: `inference.key=value` each, how the checkpoints are used.

    Raises:
        InputError: there is no complete checkpoint, or an override is wrong.
    """
    if checkpoints is None:
        found = [shipped_checkpoint()]
    else:
        given: Sequence[str | Place] = (
            [checkpoints]
            if isinstance(checkpoints, str | Path | RemotePath)
            else list(checkpoints)
        )
        found = [find_checkpoint(place(x) if isinstance(x, str) else x) for x in given]
    return [
        replace(checkpoint, config=with_inference(checkpoint.config, overrides))
        for checkpoint in found
    ]


def open_initial(given: str) -> Checkpoint:
    """Open the checkpoint that a run begins with.

    Args:
        given: path or URI of a checkpoint or of a run's output folder, or `INCLUDED`.

    Raises:
        InputError: there is no complete checkpoint.
    """
    return shipped_checkpoint() if given == INCLUDED else find_checkpoint(place(given))
