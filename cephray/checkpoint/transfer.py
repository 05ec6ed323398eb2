"""Weights of a checkpoint in another network: of other settings, or of another landmark set.

A variable is taken if it has the same path and shape. Of a variable that has a part for each
landmark, the parts of the landmarks with the same names are taken. It knows variables and landmark
sets, and no training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from cephray.checkpoint.store import WEIGHTS_FILE, Checkpoint, by_path
from cephray.checkpoint.writing import copy_arrays
from cephray.landmarks import LandmarkSet, landmark_set

if TYPE_CHECKING:
    import keras

Array = NDArray[Any]

# The axis along which variables have a part for each landmark. A part may be several entries.
_LANDMARK_AXES = {
    "detection/prior": 0,
    "detection/linear/kernel": 1,
    "refinement/conv_kernel": 0,
    "refinement/conv_bias": 0,
    "refinement/hidden_kernel": 0,
    "refinement/hidden_bias": 0,
    "refinement/output_kernel": 0,
    "refinement/output_bias": 0,
    "refinement/kernel_change": 0,
    "refinement/bias_change": 0,
    "refinement/hidden_change_in": 0,
    "refinement/hidden_change_out": 0,
    "refinement/hidden_change_bias": 0,
    "heatmap_detection/logits/kernel": 3,
    "heatmap_detection/logits/bias": 0,
    "heatmap/kernel": 3,
    "heatmap/bias": 0,
}


@dataclass(frozen=True)
class Transfer:
    """What a network has from a checkpoint.

    Args:
        taken: paths of the variables that were taken, whole or for some landmarks.
        fresh: paths of the variables that were not.
        unknown: names of the landmarks that the checkpoint does not have.
    """

    taken: tuple[str, ...]
    fresh: tuple[str, ...]
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        """Say it in a line."""
        text = f"{len(self.taken)} of {len(self.taken) + len(self.fresh)} variables"
        if self.fresh:
            more = f" and {len(self.fresh) - 3} more" if len(self.fresh) > 3 else ""
            text += f"; new are {', '.join(self.fresh[:3])}{more}"
        if self.unknown:
            text += f"; landmarks that it does not have: {', '.join(self.unknown)}"
        return text


def transfer_weights(
    checkpoint: Checkpoint, model: keras.Model, landmarks: LandmarkSet
) -> Transfer:
    """Fill what a model has in common with a checkpoint; the rest keeps its values.

    If the checkpoint was adapted and the model has no such change, the change becomes part of the
    heads' layers.

    Args:
        checkpoint: to take weights from.
        model: to fill.
        landmarks: set of the model.
    """
    arrays = load_file(checkpoint.file(WEIGHTS_FILE))
    targets = by_path(model.variables)
    for part in ("kernel", "bias"):
        change = arrays.get(f"refinement/{part}_change")
        last = f"refinement/output_{part}"
        if change is not None and f"refinement/{part}_change" not in targets and last in arrays:
            arrays[last] = arrays[last] + change
    narrow = arrays.get("refinement/hidden_change_in")
    if narrow is not None and "refinement/hidden_change_in" not in targets:
        wide = arrays["refinement/hidden_change_out"]
        arrays["refinement/hidden_kernel"] = arrays["refinement/hidden_kernel"] + narrow @ wide
        bias = arrays["refinement/hidden_change_bias"]
        arrays["refinement/hidden_bias"] = arrays["refinement/hidden_bias"] + bias
    theirs = landmark_set(checkpoint.config.data.landmarks).names
    shared = [name for name in landmarks.names if name in theirs]
    to = [landmarks.names.index(name) for name in shared]
    of = [theirs.index(name) for name in shared]
    taken, fresh = [], []
    values = copy_arrays(model.variables)
    for path, variable in targets.items():
        ours, axis = values[path], _LANDMARK_AXES.get(path)
        if path in arrays and _fill(ours, arrays[path], axis, to, of, len(theirs)):
            variable.assign(ours)
            taken.append(path)
        else:
            fresh.append(path)
    unknown = tuple(name for name in landmarks.names if name not in theirs)
    return Transfer(tuple(taken), tuple(fresh), unknown)


def _fill(
    ours: Array, theirs: Array, axis: int | None, to: list[int], of: list[int], count: int
) -> bool:
    """Write what can be taken into our values; return whether anything can.

    Args:
        ours: values of our variable.
        theirs: values of the checkpoint's variable.
        axis: with a part for each landmark, or None.
        to: our numbers of the landmarks that both have.
        of: their numbers.
        count: number of the checkpoint's landmarks.
    """
    if axis is None:
        if ours.shape != theirs.shape:
            return False
        ours[...] = theirs
        return True
    if ours.ndim != theirs.ndim or not to:
        return False
    entries = theirs.shape[axis] // count  # of each landmark
    parts, their_parts = (
        np.moveaxis(array, axis, 0).reshape(-1, entries, *np.delete(array.shape, axis))
        for array in (ours, theirs)
    )
    if parts.shape[1:] != their_parts.shape[1:]:
        return False
    merged = parts.copy()
    merged[to] = their_parts[of]
    ours[...] = np.moveaxis(merged.reshape(ours.shape[axis], *parts.shape[2:]), 0, axis)
    return True
