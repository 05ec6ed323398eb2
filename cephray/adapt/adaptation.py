"""Adaptation of a checkpoint to the marks on a few films: the fit, and the new checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from cephray.adapt.choose import (
    CANDIDATES,
    SEED,
    UNCHANGED,
    Candidate,
    Fitted,
    Trials,
    Validation,
    choose,
)
from cephray.adapt.files import FEWEST_FILMS
from cephray.adapt.frozen import FrozenNetwork, HiddenChange
from cephray.adapt.righting import frame_by_marks, right_by_marks
from cephray.checkpoint import WEIGHTS_FILE, Checkpoint, Content, write_checkpoint
from cephray.config import Config, InferenceConfig
from cephray.data import Record, View, decode
from cephray.errors import InputError, RunError
from cephray.metrics import Calibration, calibrate, conformal_factor, known_factor
from cephray.storage import is_free

FloatArray = NDArray[np.floating[Any]]

_HIDDEN = "refinement/hidden_change"
_FEWEST_FOR_HALF = 6  # films from which the value of more films is estimated


@dataclass(frozen=True, eq=False)
class Adaptation:
    """What was learnt from N films about the marks of K landmarks.

    Args:
        films: names of the films.
        candidate: the kind of change that cross-validation chose.
        before_mm: [N, K], errors of the checkpoint's network; NaN where a landmark is not marked.
        after_mm: [N, K], errors by cross-validation: on each film, of a network that was fitted
            to other films.
        half_mm: [N, K], the same, fitted to half of the other films; None if there are too few.
        offsets_mm: [N, K, 2], distances (x, y) from the network's landmarks to the marks.
        fitted: the dense layers of the heads, fitted to all films.
        calibration: of the confidence, or None if the network estimates no spread.
        radius_factor: from spreads to radii of 95 % regions, or None if it is not known.
    """

    films: tuple[str, ...]
    candidate: Candidate
    before_mm: FloatArray
    after_mm: FloatArray
    half_mm: FloatArray | None
    offsets_mm: FloatArray
    fitted: Fitted
    calibration: Calibration | None
    radius_factor: float | None


def adapt(
    checkpoint: Checkpoint,
    records: Sequence[Record],
    progress: Callable[[int], None] = lambda films: None,
) -> Adaptation:
    """Fit the dense layers of a checkpoint's heads to the marks on films.

    Args:
        checkpoint: verified and complete.
        records: films, of which N have marks of the checkpoint's landmark set. The others are
            left out. Films that lie otherwise than those of the checkpoint's training are
            righted, and films on which the head is elsewhere are shown in another frame, as the
            marks on them tell.
        progress: called with the number of films done since the last call. Each film counts
            `cephray.adapt.STAGES` times: for what the network sees of it, for cross-validation,
            and for cross-validation with half of the films, which is passed over if there are few.

    Raises:
        InputError: If there are fewer than `FEWEST_FILMS` films, or a film cannot be used.
    """
    marked = [record for record in records if np.isfinite(record.landmarks_px).any()]
    if len(marked) < FEWEST_FILMS:
        raise InputError(
            f"{len(marked)} films are marked; to adapt a network, at least {FEWEST_FILMS} are"
            " needed, and 10 to 20 are better"
        )
    network = FrozenNetwork(checkpoint)
    seen = []
    view = View.of(checkpoint.config.data)
    films = [
        replace(
            frame_by_marks(
                right_by_marks(film, view, checkpoint.shapes), view, network.mean_shape
            ),
            pixels=None,
        )
        for film in decode(marked, view)
    ]
    for one in network.see(films, SEED):
        seen.append(one)
        progress(1)
    trials = Trials(network, seen)
    validations = trials.validate(CANDIDATES, progress=progress)
    number = choose(validations)
    candidate, chosen = CANDIDATES[number], validations[number]
    half_mm = None
    if len(films) >= _FEWEST_FOR_HALF:
        (half,) = trials.validate([candidate], 0.5, progress)
        half_mm = half.errors_mm
    else:
        progress(len(films))
    calibration, radius_factor = _calibrate(checkpoint.config.inference, chosen)
    return Adaptation(
        films=tuple(film.film for film in films),
        candidate=candidate,
        before_mm=validations[CANDIDATES.index(UNCHANGED)].errors_mm,
        after_mm=chosen.errors_mm,
        half_mm=half_mm,
        offsets_mm=trials.offsets_mm,
        fitted=trials.fit(candidate, trials.learn(range(len(films)))),
        calibration=calibration,
        radius_factor=radius_factor,
    )


def _calibrate(
    inference: InferenceConfig, chosen: Validation
) -> tuple[Calibration | None, float | None]:
    """Calibrate confidence and regions by what was found in cross-validation.

    Where there is no calibration to begin with, and there are too few films, there is none.
    """
    if chosen.spreads_mm is None:
        return None, None
    known = Calibration(*inference.confidence) if inference.confidence is not None else None
    factor = known_factor(inference.radius_factor, known)
    calibration = None
    with suppress(InputError):
        calibration = calibrate(chosen.spreads_mm, chosen.errors_mm, known)
    with suppress(InputError):
        return calibration, conformal_factor(chosen.spreads_mm, chosen.errors_mm, factor)
    return calibration, None


def write_adapted(checkpoint: Checkpoint, adaptation: Adaptation, output: Path) -> None:
    """Write the adapted checkpoint.

    The network as it was stays within it: `inference.convention=original` marks as before.

    Args:
        checkpoint: that was adapted.
        adaptation: what was learnt.
        output: new or empty folder.

    Raises:
        InputError: If the folder is not empty.
        RunError: If it cannot be written.
    """
    if not is_free(output):
        raise InputError(f"output {output}: not an empty folder; give another")
    arrays = {
        name: array.astype(np.float32) if array.dtype == np.float16 else array
        for name, array in load_file(checkpoint.file(WEIGHTS_FILE)).items()
    }
    kernel, bias = (arrays.get(f"refinement/output_{name}") for name in ("kernel", "bias"))
    assert kernel is not None
    last, hidden = adaptation.fitted.layers.last, adaptation.fitted.hidden_change
    changes = {
        "refinement/kernel_change": last.kernel - kernel,
        "refinement/bias_change": last.bias - (0.0 if bias is None else bias),
    }
    if hidden is not None:
        changes |= _joined(arrays, hidden)
    arrays |= {name: change.astype(np.float32) for name, change in changes.items()}
    narrow = arrays.get(f"{_HIDDEN}_in")
    content = Content(
        _adapted(checkpoint.config, adaptation, 0 if narrow is None else narrow.shape[-1]),
        checkpoint.progress,
        arrays,
        shapes=checkpoint.shapes,
    )
    try:
        write_checkpoint(output, content)
    except OSError as error:
        raise RunError(f"checkpoint {output} could not be written: {error}") from None


def _joined(arrays: Mapping[str, Any], change: HiddenChange) -> dict[str, FloatArray]:
    """Return a change of the hidden layer as arrays, joined to one of an earlier adaptation."""
    parts = {"in": change.narrow, "out": change.wide, "bias": change.bias}
    if f"{_HIDDEN}_in" in arrays:
        narrow, wide, bias = (arrays[f"{_HIDDEN}_{name}"] for name in parts)
        parts["in"] = np.concatenate([narrow, change.narrow], axis=2)
        parts["out"] = np.concatenate([wide, change.wide], axis=1)
        parts["bias"] = bias + change.bias
    return {f"{_HIDDEN}_{name}": array for name, array in parts.items()}


def _adapted(config: Config, adaptation: Adaptation, rank: int) -> Config:
    model = config.model.model_copy(update={"adapted": True, "adapted_rank": rank})
    values: dict[str, Any] = {"convention": "adapted"}
    if adaptation.calibration is not None:
        values["confidence"] = tuple(adaptation.calibration)
    if adaptation.radius_factor is not None:
        values["radius_factor"] = adaptation.radius_factor
    inference = config.inference.model_copy(update=values)
    return config.model_copy(update={"model": model, "inference": inference})
