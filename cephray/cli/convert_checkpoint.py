"""The commands that write a checkpoint in another form: compact, export."""

from __future__ import annotations

import argparse
from pathlib import Path

from cephray.cli.checkpoint_options import add_checkpoint_options, checkpoint_of
from cephray.cli.command import Commands
from cephray.progress import import_tensorflow
from cephray.storage import place


def add_commands(commands: Commands) -> None:
    """Add these commands to the command line."""
    compact = commands.add(
        "compact", run_compact, "write a checkpoint for prediction alone, in half precision"
    )
    add_checkpoint_options(compact)
    compact.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for the compact checkpoint",
    )
    compact.add_argument(
        "--data",
        type=place,
        metavar="DIR",
        help="data set that the checkpoint was trained on, if it has no statistics of its films",
    )

    export = commands.add("export", run_export, "write a checkpoint as a TensorFlow SavedModel")
    add_checkpoint_options(export)
    export.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for the model"
    )


def run_compact(options: argparse.Namespace) -> None:
    """Write a checkpoint for prediction alone."""
    from cephray.checkpoint import write_compact

    checkpoint = checkpoint_of(options)
    write_compact(checkpoint, options.output, options.data)
    size = sum(path.stat().st_size for path in options.output.iterdir())
    print(f"{checkpoint.folder} in {options.output}: {size / 1e6:.1f} MB")


def run_export(options: argparse.Namespace) -> None:
    """Write a SavedModel."""
    checkpoint = checkpoint_of(options)
    import_tensorflow()
    from cephray.checkpoint import export_model

    export_model(checkpoint, options.output)
    print(f"model of {checkpoint.folder} in {options.output}")
