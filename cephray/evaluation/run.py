"""Evaluation from Python: one function from a checkpoint and a data set to errors.

It joins checkpoints, data sets and the detector; the command line calls it too.
"""

from __future__ import annotations

from collections.abc import Sequence

from cephray.checkpoint import Checkpoint, open_checkpoints
from cephray.config import Config
from cephray.data import Record, choose_films, read_dataset
from cephray.errors import InputError
from cephray.evaluation.evaluation import Evaluation, evaluate_detector
from cephray.evaluation.splits import SPLITS, VALIDATION
from cephray.evaluation.subsets import find_repeats, training_films
from cephray.landmarks import landmark_set
from cephray.progress import import_tensorflow, progress
from cephray.storage import Place, place


def evaluate(
    checkpoint: str | Place | Sequence[str | Place] | None = None,
    *,
    data: str | Place,
    split: str,
    reader: str | None = None,
    overrides: Sequence[str] = (),
) -> Evaluation:
    """Measure a checkpoint on films with known landmarks, each film once.

    Example:
        >>> evaluation = cephray.evaluate(data="films", split="test1")
        >>> evaluation.to_json()["films"]
        3

    Args:
        checkpoint: As in `cephray.load`.
        data: Folder or URI of the data set.
        split: "train", "test1", "test2", "all", or "validation" for the films that the run of the
            checkpoint held out.
        reader: Whose marks are the truth: "mean", "senior" or "junior". If None, as the network
            was trained.
        overrides: `inference.key=value` each, as with `--set`.

    Returns:
        Errors of both stages, millimetres, and summaries; `to_json()` gives plain values.

    Raises:
        InputError: an argument, the checkpoint or the data set cannot be used.
    """
    return evaluate_checkpoints(
        open_checkpoints(checkpoint, overrides), place(data), split, reader
    )[0]


def evaluate_checkpoints(
    checkpoints: Sequence[Checkpoint], data: Place, split: str, reader: str | None = None
) -> tuple[Evaluation, list[Record]]:
    """Measure open checkpoints; see `evaluate`.

    Returns:
        The evaluation, and the films' records.
    """
    config = checkpoints[0].config
    if reader is not None:
        section = config.data.model_copy(update={"reader": reader})
        config = config.model_copy(update={"data": section})
    records = read_records(data, split, config)
    landmarks = landmark_set(config.data.landmarks)

    import_tensorflow()
    from cephray.prediction import Detector

    training = training_films(data, records)
    with progress("looking for copies", len(training) + len(records)) as advance:
        copies = find_repeats(records, training, advance)
    with progress("evaluating", len(records)) as advance:
        evaluation = evaluate_detector(
            Detector(*checkpoints), records, split, config.data.reader, landmarks, advance, copies
        )
    return evaluation, records


def read_records(data: Place, split: str, config: Config) -> list[Record]:
    """Read the films of a split.

    Args:
        data: Folder or URI of the data set.
        split: As in `evaluate`.
        config: Of the checkpoint.

    Raises:
        InputError: there is no such split, or the checkpoint's run validated on no films.
    """
    if split not in SPLITS:
        raise InputError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    if split != VALIDATION:
        return read_dataset(data, split, config.data)  # type: ignore[arg-type]
    _, records = choose_films(data, config)
    if not records:
        raise InputError(
            f"split {VALIDATION}: the checkpoint's run validated on no films "
            "(data.validation=none); choose another split"
        )
    return records
