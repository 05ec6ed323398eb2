"""The command line: options to calls.

Heavy packages are imported by the command that needs them, so that `cephray --help` answers at
once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cephray import __version__, commands, commands_checkpoint
from cephray.command import Parser, run_command
from cephray.commands_checkpoint import VALIDATION
from cephray.presets import presets
from cephray.storage import place

CONFIG_HELP = f"preset ({', '.join(presets())}) or YAML file"
MEASURED_SPLITS = ("train", "test1", "test2", "all", VALIDATION)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    return run_command(_parser(), arguments)


def sentence(summary: str) -> str:
    """Make a summary a sentence: its first letter becomes upper case, all others stay.

    `str.capitalize` would write the others in lower case, and so spoil names.

    Example:
        >>> sentence("train on a Ray cluster")
        'Train on a Ray cluster.'
    """
    return f"{summary[0].upper()}{summary[1:]}."


def _parser() -> Parser:
    parser = Parser(prog="cephray", description="Distributed cephalometric landmark detection.")
    parser.add_argument("--version", action="version", version=f"cephray {__version__}")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(
        name: str,
        run: Callable[[argparse.Namespace], None],
        summary: str,
    ) -> argparse.ArgumentParser:
        command = subparsers.add_parser(
            name,
            help=summary,
            description=sentence(summary),
            allow_abbrev=False,
        )
        command.set_defaults(command=run)
        return command

    def add_checkpoint(command: argparse.ArgumentParser, ensemble: bool = False) -> None:
        told = "default: comes with cephray"
        command.add_argument(
            "--checkpoint",
            type=place,
            action="append",
            metavar="DIR|URI",
            help=f"{told}; repeated: an ensemble" if ensemble else told,
        )
        command.add_argument(
            "--set", action="append", default=[], metavar="inference.a=b", help="how it is used"
        )

    info = add("info", commands.run_info, "versions, devices, and what the op was built for")
    info.add_argument("--json", action="store_true", help="print JSON")

    synthesize = add("synthesize", commands.run_synthesize, "draw films with known landmarks")
    synthesize.add_argument("--output", type=Path, required=True, metavar="DIR")
    synthesize.add_argument("--count", type=int, required=True, metavar="N", help="films")
    synthesize.add_argument("--seed", type=int, default=0, metavar="S")
    synthesize.add_argument("--height", type=int, default=2400, metavar="H", help="pixels")
    synthesize.add_argument("--width", type=int, default=1935, metavar="W", help="pixels")

    check = add(
        "data-check",
        commands.run_data_check,
        "say what is wrong with a data set, or worth knowing",
    )
    check.add_argument("--data", type=Path, required=True, metavar="DIR", help="data set")
    check.add_argument("--config", metavar="FILE|NAME", help=f"of the run to come: {CONFIG_HELP}")
    check.add_argument("--set", action="append", default=[], metavar="a.b=c", help="as for train")
    check.add_argument("--json", type=Path, metavar="FILE", help="write what was found")

    train = add("train", commands.run_train, "train on a Ray cluster")
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

    evaluate = add(
        "evaluate",
        commands_checkpoint.run_evaluate,
        "measure a checkpoint on films with known landmarks",
    )
    add_checkpoint(evaluate, ensemble=True)
    evaluate.add_argument("--data", type=Path, required=True, metavar="DIR")
    evaluate.add_argument("--split", choices=MEASURED_SPLITS, required=True)
    evaluate.add_argument("--reader", choices=("mean", "senior", "junior"), help="whose marks")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the errors")
    evaluate.add_argument("--output", type=Path, metavar="DIR", help="of report and overlays")

    predict = add("predict", commands_checkpoint.run_predict, "find the landmarks of films")
    add_checkpoint(predict, ensemble=True)
    predict.add_argument(
        "--output",
        type=Path,
        default=Path("predictions"),
        metavar="DIR",
        help="default: %(default)s",
    )
    predict.add_argument("--spacing", type=float, metavar="MM", help="per pixel, where unknown")
    predict.add_argument("--num-workers", type=int, metavar="N", help="networks at work at once")
    predict.add_argument("films", type=Path, nargs="+", metavar="IMAGE|FOLDER")

    robustness = add(
        "robustness", commands_checkpoint.run_robustness, "measure a checkpoint on disturbed films"
    )
    add_checkpoint(robustness, ensemble=True)
    robustness.add_argument("--data", type=Path, required=True, metavar="DIR")
    robustness.add_argument("--split", choices=MEASURED_SPLITS, required=True)
    robustness.add_argument("--json", type=Path, metavar="FILE", help="write the rows")

    calibrate = add(
        "calibrate", commands_checkpoint.run_calibrate, "learn how sure a checkpoint may be"
    )
    add_checkpoint(calibrate)
    calibrate.add_argument("--data", type=Path, required=True, metavar="DIR")
    calibrate.add_argument("--split", choices=MEASURED_SPLITS, default=VALIDATION)

    compact = add(
        "compact",
        commands_checkpoint.run_compact,
        "write what prediction needs of a checkpoint, in half",
    )
    add_checkpoint(compact)
    compact.add_argument("--output", type=Path, required=True, metavar="DIR", help="of it")
    compact.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="data set that the checkpoint was trained on, if it has no statistics of its films",
    )

    export = add(
        "export", commands_checkpoint.run_export, "write a checkpoint as a TensorFlow SavedModel"
    )
    add_checkpoint(export)
    export.add_argument("--output", type=Path, required=True, metavar="DIR", help="of the model")

    benchmark = add(
        "benchmark", commands.run_benchmark, "time what cephray is made of, both sides in one run"
    )
    benchmark.add_argument("what", choices=("roi-crop", "train-step", "input", "predict"))
    benchmark.add_argument("--json", type=Path, metavar="FILE", help="write the rows")
    benchmark.add_argument("--picture", type=Path, metavar="FILE", help="draw a PNG")
    benchmark.add_argument("--full", action="store_true", help="every combination; takes hours")
    benchmark.add_argument("--data", type=Path, metavar="DIR", help="films of input and predict")
    return parser


if __name__ == "__main__":
    sys.exit(main())
