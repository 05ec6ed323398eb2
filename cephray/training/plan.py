"""The plan of a run, checked before anything is started or written.

The output folder may be used, the data set can be read, there are films for all workers, and a
resumed run has something to go on from. It knows no Ray and no TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cephray.checkpoint import (
    CONFIG_FILE,
    INCLUDED,
    Checkpoint,
    checkpoints_in,
    open_initial,
)
from cephray.config import Config, override
from cephray.data import KnownCopies, Record, choose_films, epoch_batches
from cephray.errors import InputError
from cephray.progress import Show
from cephray.storage import Place
from cephray.training.tracking import require_tracker


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
    data: Place,
    output: Place,
    config: Config,
    resume: bool = False,
    show: Show = print,
    copies: KnownCopies | None = None,
) -> Plan:
    """Check what a run needs.

    Args:
        data: folder of the data set, local or in an object store.
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
    require_tracker(config.train.tracking)
    last = _last_checkpoint(output, resume, show)
    # A run keeps its precision where it is resumed on another device.
    settings: dict[str, Any] = {"train.precision": config.train.policy}
    if config.train.init is not None and last is None:
        folder = open_initial(config.train.init).folder
        if config.train.init != INCLUDED:  # which lies elsewhere on other nodes
            settings["train.init"] = str(folder.absolute())
    config = override(config, settings)
    training, validation = choose_films(data, config, show, copies)
    _require_films_for_workers(len(training), config)
    return Plan(config, output, training, validation, last)


def _last_checkpoint(output: Place, resume: bool, show: Show) -> Checkpoint | None:
    """Refuse an output folder that holds something else; find what a resumed run goes on from."""
    if output.exists() and not output.is_dir():
        raise InputError(f"output {output}: is a file; give a folder")
    found = sorted(path.name for path in output.iterdir()) if output.exists() else []
    if not resume:
        if CONFIG_FILE in found:
            raise InputError(
                f"output {output}: holds another run; go on with it by --resume, or give an "
                "empty folder"
            )
        if found:
            raise InputError(
                f"output {output}: is not empty (holds {found[0]}); give an empty folder"
            )
        return None
    if found and CONFIG_FILE not in found:
        raise InputError(f"output {output}: holds no run to resume (no {CONFIG_FILE})")
    checkpoints = checkpoints_in(output)
    if not checkpoints:
        show(f"nothing to resume in {output}: the run starts anew")
        return None
    show(f"resuming after {checkpoints[-1].progress}")
    return checkpoints[-1]


def _require_films_for_workers(count: int, config: Config) -> None:
    """Refuse workers that would never have a film, and parts that would have none."""
    batch_size, workers = config.train.global_batch_size, config.train.num_workers
    sizes = [len(batch) for batch in epoch_batches(count, batch_size, config.train.seed, 1)]
    # Without statistics of all workers, one without a film would normalise by a black one.
    each_has_one = not config.model.sync_batch_norm
    most = min(sizes) if each_has_one else max(sizes)
    if workers > most:
        raise InputError(
            f"{workers} workers (--num-workers) cannot share batches of {most} films "
            f"({count} films, train.global_batch_size {batch_size}); use at most {most}, or a "
            "larger batch" + (", or model.sync_batch_norm=true" if workers <= max(sizes) else "")
        )
    parts, share = config.train.accumulation_steps, max(1, min(sizes) // workers)
    if parts > share:
        raise InputError(
            f"a worker's share of {share} films cannot be computed in {parts} parts "
            f"(train.accumulation_steps); use at most {share}"
        )
