"""What a run will do, checked before anything is started or written.

The output folder may be used, the data set can be read, every worker gets a film in each batch,
and a resumed run has something to go on from. It knows no Ray and no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cephray.config import Config
from cephray.data.copies import find_copies
from cephray.data.formats import Record, read_dataset
from cephray.data.known_copies import KnownCopies
from cephray.data.pipeline import epoch_batches, holdout
from cephray.errors import InputError
from cephray.progress import progress
from cephray.storage import Place
from cephray.train.checkpoint import CONFIG, Checkpoint, checkpoints_in

Show = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Plan:
    """A run that can start: its films' records, and the checkpoint that it goes on from."""

    config: Config
    output: Place
    training: list[Record]
    validation: list[Record]
    last: Checkpoint | None

    @property
    def is_finished(self) -> bool:
        """Whether the last checkpoint has all epochs already."""
        return self.last is not None and self.last.progress.epoch >= self.config.train.epochs


def plan_run(
    data: Path,
    output: Place,
    config: Config,
    resume: bool = False,
    show: Show = print,
    copies: KnownCopies | None = None,
) -> Plan:
    """Check what a run needs.

    Args:
        data: folder of the data set.
        output: folder of the run, local or remote; must be empty unless the run is resumed.
        config: of the run.
        resume: go on from the last complete checkpoint in `output`, if there is one.
        show: takes the line that says where a resumed run goes on.
        copies: copies of films that were found before; what is found now is added.

    Raises:
        InputError: data, configuration or output folder cannot be used.
    """
    if isinstance(output, Path):
        output = output.resolve()
    elif not output.name:
        raise InputError(f"output {output}: is a whole bucket; give a folder in it")
    last = _last_checkpoint(output, resume, show)
    training, validation = choose_films(data, config, show, copies)
    _require_a_film_each(len(training), config)
    return Plan(config, output, training, validation, last)


def _last_checkpoint(output: Place, resume: bool, show: Show) -> Checkpoint | None:
    """Refuse an output folder that holds something else; find what a resumed run goes on from."""
    if output.exists() and not output.is_dir():
        raise InputError(f"output {output}: is a file; give a folder")
    found = sorted(path.name for path in output.iterdir()) if output.exists() else []
    if not resume:
        if CONFIG in found:
            raise InputError(
                f"output {output}: holds another run; go on with it by --resume, or give an "
                "empty folder"
            )
        if found:
            raise InputError(
                f"output {output}: is not empty (holds {found[0]}); give an empty folder"
            )
        return None
    if found and CONFIG not in found:
        raise InputError(f"output {output}: holds no run to resume (no {CONFIG})")
    checkpoints = checkpoints_in(output)
    if not checkpoints:
        show(f"nothing to resume in {output}: the run starts anew")
        return None
    show(f"resuming after {checkpoints[-1].progress}")
    return checkpoints[-1]


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


def _require_a_film_each(count: int, config: Config) -> None:
    """Refuse more workers than there are films in the smallest batch."""
    batch_size, workers = config.train.global_batch_size, config.train.num_workers
    smallest = min(map(len, epoch_batches(count, batch_size, config.train.seed, 1)))
    if workers > smallest:
        raise InputError(
            f"{workers} workers (--num-workers) cannot share batches of {smallest} films "
            f"({count} films, train.global_batch_size {batch_size}); use at most {smallest}, or "
            "a larger batch"
        )
    parts = config.train.accumulation_steps
    if parts > smallest // workers:
        raise InputError(
            f"a worker's share of {smallest // workers} films cannot be computed in {parts} parts "
            f"(train.accumulation_steps); use at most {smallest // workers}"
        )
