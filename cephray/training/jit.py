"""The choice of what XLA compiles in a run.

XLA compiles a function anew for each batch size, which takes up to minutes. An epoch's batches
have two sizes at most; the rare one is left to the plain step. This file knows steps as functions,
and no network or optimizer.
"""

from __future__ import annotations

from collections import Counter

import keras
import numpy as np
import tensorflow as tf

from cephray.config import Config
from cephray.data import epoch_batches
from cephray.model import Jit
from cephray.progress import Show
from cephray.training.xla import wants_xla

# A batch size is worth a compilation if at least this fraction of an epoch's steps have it.
_LEAST_SHARE = 0.25


def choose_jit(
    config: Config, model: keras.Model, films: int, rank: int, world_size: int, show: Show
) -> Jit | None:
    """Decide what this worker compiles.

    Args:
        config: of the run.
        model: the network.
        films: number of training films.
        rank: number of this worker, from 0.
        world_size: number of workers.
        show: takes the line that says why nothing is compiled, and those about compilations.

    Returns:
        What to compile, or None to run the plain steps.
    """
    if not wants_xla(config, films, bool(tf.config.list_physical_devices("GPU"))):
        return None
    if world_size > 1 and config.model.sync_batch_norm and _normalises_batches(model):
        show(
            "training without XLA (train.jit): batch normalisation exchanges statistics between "
            "the workers within the network; model.sync_batch_norm=false allows XLA"
        )
        return None
    sizes = usual_sizes(films, config.train.global_batch_size, rank, world_size)
    parts = config.train.accumulation_steps
    fitting = frozenset(size for size in sizes if size % parts == 0)
    if not fitting:
        show(
            f"training without XLA (train.jit): batches of {max(sizes)} films do not divide into "
            f"{parts} equal parts; choose train.accumulation_steps so that they do"
        )
        return None
    validation_size = max(1, config.train.global_batch_size // world_size)
    return Jit(fitting, validation_size, show, required=config.train.jit == "on")


def usual_sizes(films: int, global_batch_size: int, rank: int, world_size: int) -> frozenset[int]:
    """Return the sizes of this worker's batches that enough of an epoch's steps have.

    Args:
        films: number of training films.
        global_batch_size: maximum number of films in a batch of all workers together.
        rank: number of this worker, from 0.
        world_size: number of workers.
    """
    batches = epoch_batches(films, global_batch_size, seed=0, epoch=1)  # each epoch has the sizes
    # A worker without a film computes a black one.
    counts = Counter(max(1, len(np.array_split(batch, world_size)[rank])) for batch in batches)
    return frozenset(
        size for size, count in counts.items() if count >= _LEAST_SHARE * len(batches)
    )


def _normalises_batches(model: keras.Model) -> bool:
    """Return whether training uses the statistics of a batch."""
    return any(
        isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        for layer in model.layers
    )
