"""Options that the commands on a checkpoint share, and opening it.

Heavy packages are imported by the command that needs them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cephray.cli.command import Parser
from cephray.errors import InputError
from cephray.evaluation import SPLITS
from cephray.storage import place

if TYPE_CHECKING:
    from cephray.checkpoint import Checkpoint


FOR_ENSEMBLE = "repeat it for an ensemble"


def add_checkpoint_options(command: Parser, repeated: str | None = None) -> None:
    """Add `--checkpoint`, and `--set` for how the checkpoint is used.

    Args:
        command: parser of a command that works on a checkpoint.
        repeated: what `--checkpoint` may be repeated for. If None, one is wanted.
    """
    default = "checkpoint or run; default: the one that comes with cephray"
    command.add_argument(
        "--checkpoint",
        type=place,
        action="append",
        metavar="DIR|URI",
        help=default if repeated is None else f"{default}; {repeated}",
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="inference.a=b",
        help="set a key of the section inference",
    )


def add_spacing_option(command: Parser) -> None:
    """Add `--spacing` to a command that finds landmarks on films."""
    command.add_argument(
        "--spacing",
        type=float,
        metavar="MM",
        help="millimetres per pixel of films that do not know their own",
    )


def add_split_option(command: Parser, default: str | None = None) -> None:
    """Add `--split`, required if there is no default."""
    command.add_argument(
        "--split",
        choices=SPLITS,
        default=default,
        required=default is None,
        help="films to measure on",
    )


def checkpoint_of(options: argparse.Namespace) -> Checkpoint:
    """Open the one checkpoint that is given, or the one that comes with cephray."""
    given = options.checkpoint or []
    if len(given) > 1:
        raise InputError(f"--checkpoint: one is wanted here; got {', '.join(map(str, given))}")
    return checkpoints_of(options)[0]


def checkpoints_of(options: argparse.Namespace) -> list[Checkpoint]:
    """Open the checkpoints that are given, or the one that comes with cephray."""
    from cephray.checkpoint import open_checkpoints

    return open_checkpoints(options.checkpoint, options.set)


def describe(checkpoints: Sequence[Checkpoint]) -> str:
    """Name a checkpoint, or the checkpoints of an ensemble."""
    kind = "checkpoint" if len(checkpoints) == 1 else f"ensemble of {len(checkpoints)} checkpoints"
    return f"{kind} {', '.join(str(checkpoint.folder) for checkpoint in checkpoints)}"
