"""Settings that a resumed run may change, because they do not change its results.

It compares configurations, and knows no files.
"""

from __future__ import annotations

from cephray.config import Config, flatten
from cephray.errors import InputError
from cephray.storage import Place

# More epochs, other machines, more patience: the weights so far are still those of this run.
FREE = {
    "train.epochs",
    "train.early_stop_patience",
    "train.num_workers",
    "train.min_workers",
    "train.grow_every_s",
    "train.use_gpu",
    "train.gpus_per_worker",
    "train.cpus_per_worker",
    "train.checkpoint_every",
    "train.wait_for_resources_s",
    "train.max_failures",
    "train.stall_timeout_s",
    "train.init",
    "train.tracking",
}


def require_same_run(config: Config, saved: Config, source: Place) -> None:
    """Refuse to resume with settings that would make it another run.

    Args:
        config: what the user asks for.
        saved: what the run began with.
        source: file of the saved settings, for the message.

    Raises:
        InputError: names the first setting that differs, both values and the cure.
    """
    asked, began = flatten(config), flatten(saved)
    for key, value in asked.items():
        if value != began[key] and key not in FREE:
            raise InputError(
                f"cannot resume with {key}={value!r}: the run began with {began[key]!r} "
                f"({source}); leave it out, or start a new run in another --output"
            )
