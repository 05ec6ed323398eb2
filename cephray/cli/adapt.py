"""The command adapt: a checkpoint that marks as one's own films are marked."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cephray.cli.checkpoint_options import checkpoint_of
from cephray.cli.command import Commands
from cephray.errors import InputError
from cephray.progress import import_tensorflow
from cephray.storage import place

FACTS, REPORT = "adaptation.json", "report.html"


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
    from cephray.config import override, parse_overrides
    from cephray.data import MEAN, read_dataset
    from cephray.landmarks import landmark_set
    from cephray.progress import progress
    from cephray.storage import is_free, replace_text

    if not is_free(options.output):
        raise InputError(f"output {options.output}: not an empty folder; give another")
    given = parse_overrides(options.set)
    options.set = []
    checkpoint = checkpoint_of(options)
    for key in given:
        if key not in _KEYS:
            raise InputError(f"--set {key}: only {', '.join(_KEYS)} can be set here")
    # The marks are those of the new films, whatever the checkpoint was trained on.
    values = {"data.reader": MEAN, "data.spacing_mm": None, "data.ruler_mm": None} | given
    data = override(checkpoint.config, values).data
    records = read_dataset(options.data, options.split, data)
    import_tensorflow()
    from cephray.adapt import (
        adapt,
        adaptation_json,
        figures_of,
        format_adaptation,
        write_adapted,
    )
    from cephray.report import write_adaptation_report

    with progress("adapting", 2 * len(records)) as advance:
        adaptation = adapt(checkpoint, records, advance)
    write_adapted(checkpoint, adaptation, options.output)
    landmarks = landmark_set(data.landmarks)
    figures = figures_of(adaptation, landmarks)
    facts = json.dumps(adaptation_json(adaptation, figures), indent=1)
    replace_text(options.output / FACTS, facts)
    write_adaptation_report(options.output / REPORT, adaptation, figures, landmarks)
    print(format_adaptation(adaptation, figures))
    print(f"\ncheckpoint in {options.output}, report in {options.output / REPORT}")


_KEYS = ("data.reader", "data.spacing_mm", "data.ruler_mm", "data.unknown_labels")
