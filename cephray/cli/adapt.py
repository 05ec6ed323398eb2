"""The command adapt: a checkpoint that marks as one's own films are marked."""

from __future__ import annotations

import argparse
from pathlib import Path

from cephray.cli.checkpoint_options import checkpoint_of
from cephray.cli.command import Commands
from cephray.errors import InputError
from cephray.progress import import_tensorflow
from cephray.storage import place

REPORT = "report.html"


def add_commands(commands: Commands) -> None:
    """Add this command to the command line."""
    adapt = commands.add(
        "adapt", run_adapt, "adapt a checkpoint to the marks on a few films of your own"
    )
    adapt.add_argument(
        "--data", type=place, required=True, metavar="DIR|URI", help="marked films, 3 or more"
    )
    adapt.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for the checkpoint"
    )
    adapt.add_argument(
        "--checkpoint",
        type=place,
        action="append",
        metavar="DIR|URI",
        help="checkpoint or run; default: the one that comes with cephray",
    )
    adapt.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="data.a=b",
        help="how the marks are read: data.reader, data.spacing_mm, data.ruler_mm or "
        "data.unknown_labels",
    )
    adapt.add_argument(
        "--split", default="all", metavar="NAME", help="split to read of a known folder layout"
    )


def run_adapt(options: argparse.Namespace) -> None:
    """Adapt a checkpoint."""
    from cephray.adapt import read_marked
    from cephray.config import parse_overrides
    from cephray.landmarks import landmark_set
    from cephray.progress import progress
    from cephray.storage import is_free

    if not is_free(options.output):
        raise InputError(f"output {options.output}: not an empty folder; give another")
    given = parse_overrides(options.set)
    options.set = []
    checkpoint = checkpoint_of(options)
    for key in given:
        if key not in _KEYS:
            raise InputError(f"--set {key}: only {', '.join(_KEYS)} can be set here")
    records = read_marked(checkpoint, options.data, options.split, given)
    import_tensorflow()
    from cephray.adapt import (
        STAGES,
        adapt,
        figures_of,
        format_adaptation,
        write_adapted,
        write_facts,
    )
    from cephray.report import write_adaptation_report

    with progress("adapting", STAGES * len(records)) as advance:
        adaptation = adapt(checkpoint, records, advance)
    write_adapted(checkpoint, adaptation, options.output)
    landmarks = landmark_set(checkpoint.config.data.landmarks)
    figures = figures_of(adaptation, landmarks)
    write_facts(options.output, adaptation, figures)
    write_adaptation_report(options.output / REPORT, adaptation, figures, landmarks)
    print(format_adaptation(adaptation, figures))
    print(f"\ncheckpoint in {options.output}, report in {options.output / REPORT}")


_KEYS = ("data.reader", "data.spacing_mm", "data.ruler_mm", "data.unknown_labels")
