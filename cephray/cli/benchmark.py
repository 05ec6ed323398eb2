"""The command benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path

from cephray.cli.command import Commands
from cephray.errors import InputError


def add_commands(commands: Commands) -> None:
    """Add this command to the command line."""
    benchmark = commands.add(
        "benchmark", run_benchmark, "benchmark a part of cephray against alternatives"
    )
    benchmark.add_argument(
        "what", choices=("roi-crop", "train-step", "input", "predict"), help="part"
    )
    benchmark.add_argument("--json", type=Path, metavar="FILE", help="file to write the rows to")
    benchmark.add_argument("--picture", type=Path, metavar="FILE", help="PNG file to draw")
    benchmark.add_argument(
        "--full", action="store_true", help="run every combination, which takes hours"
    )
    benchmark.add_argument("--data", type=Path, metavar="DIR", help="films for input and predict")


def run_benchmark(options: argparse.Namespace) -> None:
    """Time a part of cephray."""
    taken = {
        "roi-crop": ("full", "picture"),
        "train-step": ("full",),
        "input": ("data",),
        "predict": ("data",),
    }
    for name in ("full", "picture", "data"):
        if getattr(options, name) and name not in taken[options.what]:
            valid = ", ".join(f"--{option}" for option in ("json", *taken[options.what]))
            raise InputError(f"benchmark {options.what} takes no --{name}; it takes {valid}")
    for path in filter(None, (options.json, options.picture)):  # not after an hour's run
        if path.is_dir():
            raise InputError(f"{path} is a folder; give the path of a file")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error}") from error
    if options.what == "roi-crop":
        from cephray.benchmark import roi_crop

        roi_crop.run(options.full, options.json, options.picture)
    elif options.what == "train-step":
        from cephray.benchmark import train_step

        train_step.run(options.full, options.json)
    elif options.what == "predict":
        from cephray.benchmark import predict

        predict.run(options.data, options.json)
    else:
        from cephray.benchmark import input as benchmark_input

        benchmark_input.run(options.data, options.json)
