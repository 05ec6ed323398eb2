"""The choice of training and validation films, which is the same each time.

Copies of a film stay on the same side. It knows records and copies, but no networks.
"""

from __future__ import annotations

from cephray.config import Config
from cephray.data.copies import find_copies
from cephray.data.dataset import Record, read_dataset
from cephray.data.known_copies import KnownCopies
from cephray.data.pipeline import holdout
from cephray.errors import InputError
from cephray.progress import Show, progress
from cephray.storage import Place


def choose_films(
    data: Place, config: Config, show: Show = print, copies: KnownCopies | None = None
) -> tuple[list[Record], list[Record]]:
    """Read the training and validation records of a run.

    The choice depends only on the data set and the configuration.

    Args:
        data: folder of the data set, local or in an object store.
        config: configuration of the run.
        show: called with a line that says how many films are left out.
        copies: cache of known copies. If None, copies are searched for.

    Returns:
        The training records and the validation records. Without validation, the latter are empty.

    Raises:
        InputError: If the data set cannot be read or cannot be split.
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
    fraction, fold = config.data.holdout_fraction, config.data.fold
    kept, held_out = holdout(len(training), fraction, config.train.seed, pairs, fold)
    if not len(held_out):
        raise InputError(
            f"data {data}: too few films for data.fold={fold}; choose a smaller number or a larger"
            " data.holdout_fraction"
        )
    if not len(kept):
        raise InputError(
            f"data {data}: all training films are copies of each other, so that they cannot be "
            "split into training and validation; add other films, or set data.validation=none"
        )
    return [training[i] for i in kept], [training[i] for i in held_out]


def _without_copies(
    training: list[Record],
    validation: list[Record],
    config: Config,
    show: Show,
    copies: KnownCopies,
) -> list[Record]:
    """Leave out training films that are copies of validation films."""
    if not config.data.separate_copies:
        return training
    count = len(training)
    pairs = _copies([*training, *validation], copies)
    twice = {i for i, j in pairs if i < count <= j}
    if twice:
        show(
            f"training films left out, since they are in {config.data.validation} as well: "
            f"{len(twice)} (data.separate_copies=false trains on them)"
        )
    kept = [record for i, record in enumerate(training) if i not in twice]
    if not kept:
        raise InputError(
            f"data.validation={config.data.validation}: contains all training films, so that "
            "there are none left to train on; set data.separate_copies=false to train on them"
        )
    return kept


def _copies(records: list[Record], known: KnownCopies) -> list[tuple[int, int]]:
    paths = [record.image_path for record in records]

    def look() -> list[tuple[int, int]]:
        with progress("looking for copies", len(paths)) as advance:
            return find_copies(paths, advance)

    return known.find(paths, look)
