"""Training from Python: one function that plans a run and launches it.

It joins configuration, plan and driver; the command line calls it too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from cephray.checkpoint import CONFIG_FILE, Checkpoint
from cephray.config import Config, load_config, override
from cephray.errors import InputError
from cephray.progress import prepare_tensorflow
from cephray.storage import Place, place
from cephray.training.compatibility import require_same_run
from cephray.training.plan import plan_run


def train(
    config: Config | Place | str | None = None,
    *,
    data: str | Place,
    output: str | Place,
    overrides: Sequence[str] = (),
    num_workers: int | None = None,
    use_gpu: bool = False,
    gpus_per_worker: float | None = None,
    init: str | Place | None = None,
    resume: bool = False,
    verbose: bool = False,
) -> Checkpoint:
    """Train a network on a Ray cluster, or on this machine if none is named.

    Ray is started for the run and shut down after it, unless it runs already. Progress is printed
    line by line.

    Example:
        >>> best = cephray.train("small", data="films", output="run", num_workers=2)
        >>> cephray.load(best.folder).predict("film.png").names[0]
        'Sella'

    Args:
        config: Configuration; or name of a preset, or path of a YAML file. If None, the defaults,
            or the configuration of the run that is resumed.
        data: Folder or URI of the data set.
        output: Folder or URI of the run; must be empty unless the run is resumed.
        overrides: `section.key=value` each, as with `--set`.
        num_workers: Number of workers. If None, as configured.
        use_gpu: Train on GPUs, one for each worker. If False, as configured.
        gpus_per_worker: GPUs of each worker, at most 1; several workers or runs share a GPU if
            it is a fraction. It implies `use_gpu`. If None, as configured.
        init: Folder or URI of a checkpoint whose weights a new run begins with, as far as they
            fit, or "included" for the one that comes with cephray. If None, as configured.
        resume: Go on from the last complete checkpoint in `output`.
        verbose: Show the logs of Ray and TensorFlow too.

    Returns:
        The best checkpoint: of the lowest validation error, or of the last epoch without
        validation.

    Raises:
        InputError: an argument, the configuration or the data set cannot be used.
        RunError: the run failed; the message says what it can be resumed from.
        Stopped: a signal ended the run.
    """
    output = place(output)
    changes = list(overrides)
    if num_workers is not None:
        changes.append(f"train.num_workers={num_workers}")
    if use_gpu or gpus_per_worker is not None:
        changes.append("train.use_gpu=true")
    if gpus_per_worker is not None:
        changes.append(f"train.gpus_per_worker={gpus_per_worker}")
    if init is not None:
        changes.append(f"train.init={json.dumps(str(init))}")
    saved = output / CONFIG_FILE
    goes_on = resume and saved.is_file()
    if isinstance(config, Config):
        if changes:
            raise InputError(
                "config: a Config takes no overrides; change it by cephray.config.override"
            )
        wanted = config
    else:
        wanted = load_config(saved if goes_on and config is None else config, changes)
    if goes_on:
        began = load_config(saved)
        if wanted.train.precision == "auto":
            wanted = override(wanted, {"train.precision": began.train.precision})
        require_same_run(wanted, began, saved)
    plan = plan_run(place(data), output, wanted, resume)

    prepare_tensorflow()  # for the workers; this process does without
    from cephray.training.driver import launch

    return launch(plan, verbose)
