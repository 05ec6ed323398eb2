"""Compact checkpoints: what prediction needs, in half precision.

It knows checkpoints, and no network.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cephray.checkpoint.store import Checkpoint
from cephray.checkpoint.writing import save_compact
from cephray.config import Config
from cephray.data import View, choose_films, decode
from cephray.errors import InputError, RunError
from cephray.plausibility import ShapeStatistics, film_statistics
from cephray.storage import Place, is_free


def write_compact(checkpoint: Checkpoint, folder: Path, data: Place | None = None) -> None:
    """Write a checkpoint for prediction alone.

    Args:
        checkpoint: verified and complete.
        data: the data set that it was trained on, to add the statistics of the training films'
            landmarks to a checkpoint that lacks them; None keeps what the checkpoint has.
        folder: of the compact one; empty or not there yet.

    Raises:
        InputError: the folder holds something, a weight is too large for half precision, or the
            data set cannot be read.
        RunError: it could not be written.
    """
    if not is_free(folder):
        raise InputError(f"output {folder}: not an empty folder; give another")
    if data is not None:
        checkpoint = replace(checkpoint, shapes=_shapes(checkpoint.config, data))
    try:
        save_compact(folder, checkpoint)
    except OSError as error:
        raise RunError(f"checkpoint {folder} could not be written: {error}") from None


def _shapes(config: Config, data: Place) -> ShapeStatistics | None:
    """Compute the statistics of the films that the checkpoint's run trained on."""
    training, _ = choose_films(data, config)
    films = [replace(film, pixels=None) for film in decode(training, View.of(config.data))]
    return film_statistics(
        (film.image for film in films),
        [film.frame for film in films],
        np.array([film.landmarks_norm for film in films]),
        np.array([film.spacing_mm for film in films]),
    )
