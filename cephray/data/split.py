"""The films that a run trains on and those that it validates on, the same each time.

A film that occurs twice stays on one side. It knows records and copies, and no network.
"""

from __future__ import annotations

from pathlib import Path

from cephray.config import Config
from cephray.data.copies import find_copies
from cephray.data.dataset import Record, read_dataset
from cephray.data.known_copies import KnownCopies
from cephray.data.pipeline import holdout
from cephray.errors import InputError
from cephray.progress import Show, progress


def choose_films(
    data: Path, config: Config, show: Show = print, copies: KnownCopies | None = None
) -> tuple[list[Record], list[Record]]:
    """Read the records that a run trains on, and those that it validates on: the same each time.

    Args:
        data: folder of the data set.
        config: of the run.
        show: takes the line that says what is left out.
        copies: as in `plan_run`.

    Raises:
        InputError: the data set cannot be read, or not be split.
    """
    copies = copies or KnownCopies()
    training = read_dataset(data, config.data.training, config.data)
    if config.data.validation == "none":
        return training, []
    if config.data.validation != "holdout":
        validation = read_dataset(data, config.data.validation, config.data)
        return _without_copies(training, validation, config, show, copies), validation
    if len(training) < 2:
        raise InputError(
            f"data {data}: one film cannot be split into training and validation; "
            "set data.validation=none"
        )
    pairs = _copies(training, copies) if config.data.separate_copies else []
    kept, held_out = holdout(len(training), config.data.holdout_fraction, config.train.seed, pairs)
    if not len(kept):
        raise InputError(f"data {data}: all training films are copies of each other")
    return [training[i] for i in kept], [training[i] for i in held_out]


def _without_copies(
    training: list[Record],
    validation: list[Record],
    config: Config,
    show: Show,
    copies: KnownCopies,
) -> list[Record]:
    """Leave out the training films that are in validation too."""
    if not config.data.separate_copies:
        return training
    count = len(training)
    pairs = _copies([*training, *validation], copies)
    twice = {i for i, j in pairs if i < count <= j}
    if twice:
        show(
            f"training films that are in {config.data.validation} as well, and not trained on: "
            f"{len(twice)} (data.separate_copies=false trains on them)"
        )
    kept = [record for i, record in enumerate(training) if i not in twice]
    if not kept:
        raise InputError(
            f"data.validation={config.data.validation}: has all the training films, so that "
            "there is none to train on; set data.separate_copies=false to train on them"
        )
    return kept


def _copies(records: list[Record], known: KnownCopies) -> list[tuple[int, int]]:
    paths = [record.image_path for record in records]

    def look() -> list[tuple[int, int]]:
        with progress("looking for copies", len(paths)) as advance:
            return find_copies(paths, advance)

    return known.find(paths, look)
