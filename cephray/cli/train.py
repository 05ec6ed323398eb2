"""The command train."""

from __future__ import annotations

import argparse
from pathlib import Path

from cephray.cli.command import CONFIG_HELP, Commands
from cephray.progress import import_tensorflow
from cephray.storage import place


def add_commands(commands: Commands) -> None:
    """Add this command to the command line."""
    train = commands.add("train", run_train, "train on a Ray cluster")
    train.add_argument("--data", type=Path, required=True, metavar="DIR", help="data set")
    train.add_argument("--output", type=place, required=True, metavar="DIR|URI", help="of the run")
    train.add_argument("--config", metavar="FILE|NAME", help=CONFIG_HELP)
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="a.b=c",
        help="one config key; may be repeated",
    )
    train.add_argument("--num-workers", type=int, metavar="N")
    train.add_argument("--use-gpu", action="store_true", help="one GPU for each worker")
    train.add_argument("--resume", action="store_true", help="go on with the run in --output")
    train.add_argument("--verbose", action="store_true", help="logs of Ray and TensorFlow too")


def run_train(options: argparse.Namespace) -> None:
    """Train."""
    from cephray.checkpoint import CONFIG_FILE
    from cephray.config import load_config
    from cephray.training import plan_run, require_same_run

    overrides = list(options.set)
    if options.num_workers is not None:
        overrides.append(f"train.num_workers={options.num_workers}")
    if options.use_gpu:
        overrides.append("train.use_gpu=true")
    saved = options.output / CONFIG_FILE
    going_on = options.resume and saved.is_file()
    base = saved if going_on and options.config is None else options.config
    config = load_config(base, overrides)
    if going_on:
        require_same_run(config, load_config(saved), saved)
    plan = plan_run(options.data, options.output, config, options.resume)

    import_tensorflow()
    from cephray.training import launch

    best = launch(plan, options.verbose)
    print(f"best epoch {best.progress.epoch}: {best.folder}")
