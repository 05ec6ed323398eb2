"""The command benchmark."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from cephray.cli.command import Commands
from cephray.config.presets import preset_files
from cephray.errors import InputError


def add_commands(commands: Commands) -> None:
    """Add this command to the command line."""
    benchmark = commands.add(
        "benchmark", run_benchmark, "benchmark a part of cephray against alternatives"
    )
    benchmark.add_argument(
        "what", choices=("roi-crop", "train-step", "input", "predict", "scaling"), help="part"
    )
    benchmark.add_argument("--json", type=Path, metavar="FILE", help="file to write the rows to")
    benchmark.add_argument("--picture", type=Path, metavar="FILE", help="PNG file to draw")
    benchmark.add_argument(
        "--full", action="store_true", help="run every combination, which takes hours"
    )
    benchmark.add_argument("--data", type=Path, metavar="DIR", help="films for input and predict")
    benchmark.add_argument(
        "--step-ms",
        nargs="+",
        metavar="PRESET=MS",
        help="for scaling: milliseconds of a step on one GPU, of each preset to simulate",
    )


def run_benchmark(options: argparse.Namespace) -> None:
    """Time a part of cephray."""
    taken = {
        "roi-crop": ("full", "picture"),
        "train-step": ("full",),
        "input": ("data",),
        "predict": ("data",),
        "scaling": ("picture", "step_ms"),
    }
    for name in ("full", "picture", "data", "step_ms"):
        if getattr(options, name) and name not in taken[options.what]:
            valid = ", ".join(_flag(option) for option in ("json", *taken[options.what]))
            raise InputError(f"benchmark {options.what} takes no {_flag(name)}; it takes {valid}")
    steps_ms = None if options.step_ms is None else _read_steps_ms(options.step_ms)
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
    elif options.what == "scaling":
        from cephray.benchmark.scaling import run

        run.run(steps_ms, options.json, options.picture)
    else:
        from cephray.benchmark import input as benchmark_input

        benchmark_input.run(options.data, options.json)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _read_steps_ms(texts: Sequence[str]) -> dict[str, float]:
    """Read `PRESET=MS`.

    Raises:
        InputError: that is not what a text says, or there is no such preset.
    """
    steps_ms = {}
    for text in texts:
        preset, _, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = 0.0
        if not 0 < value < math.inf:
            raise InputError(f"--step-ms {text}: give a preset and milliseconds, as in best=16.0")
        if preset not in preset_files():
            raise InputError(
                f"--step-ms {text}: no preset {preset!r}; there are {', '.join(preset_files())}"
            )
        steps_ms[preset] = value
    return steps_ms
