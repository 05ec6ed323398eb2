"""The command train."""

from __future__ import annotations

import argparse

from cephray.cli.command import CONFIG_HELP, Commands
from cephray.storage import place


def add_commands(commands: Commands) -> None:
    """Add this command to the command line."""
    train = commands.add("train", run_train, "train on a Ray cluster")
    train.add_argument(
        "--data", type=place, required=True, metavar="DIR|URI", help="folder of the data set"
    )
    train.add_argument(
        "--output", type=place, required=True, metavar="DIR|URI", help="folder of the run"
    )
    train.add_argument("--config", metavar="FILE|NAME", help=CONFIG_HELP)
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="a.b=c",
        help="set a key of the configuration; may be repeated",
    )
    train.add_argument("--num-workers", type=int, metavar="N", help="number of workers")
    train.add_argument("--use-gpu", action="store_true", help="train on GPUs, one for each worker")
    train.add_argument(
        "--gpus-per-worker",
        type=float,
        metavar="G",
        help="GPUs of each worker, with --use-gpu implied; with 0.25, four workers or runs share "
        "one",
    )
    train.add_argument(
        "--init",
        metavar="DIR|URI",
        help="checkpoint whose weights a new run begins with, as far as they fit; included: the "
        "one that comes with cephray",
    )
    train.add_argument("--resume", action="store_true", help="resume the run in --output")
    train.add_argument(
        "--verbose", action="store_true", help="show the logs of Ray and TensorFlow"
    )


def run_train(options: argparse.Namespace) -> None:
    """Train."""
    from cephray.training import train

    best = train(
        options.config,
        data=options.data,
        output=options.output,
        overrides=options.set,
        num_workers=options.num_workers,
        use_gpu=options.use_gpu,
        gpus_per_worker=options.gpus_per_worker,
        init=options.init,
        resume=options.resume,
        verbose=options.verbose,
    )
    print(f"best epoch {best.progress.epoch}: {best.folder}")
