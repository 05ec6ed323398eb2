"""The commands on data sets: synthesize, landmarks, convert, data-check."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cephray.cli.command import CONFIG_HELP, Commands, make_folder
from cephray.cli.marks_options import LANDMARKS_HELP, add_marks_options, marks_config
from cephray.errors import RunError
from cephray.landmarks import landmark_set
from cephray.storage import place

FORMATS_HELP = "cephray, csv, text, labelme, coco, cvat or aariz"


def add_commands(commands: Commands) -> None:
    """Add these commands to the command line."""
    synthesize = commands.add("synthesize", run_synthesize, "draw films with known landmarks")
    synthesize.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for the data set"
    )
    synthesize.add_argument(
        "--count", type=int, required=True, metavar="N", help="number of films"
    )
    synthesize.add_argument("--seed", type=int, default=0, metavar="S", help="random seed")
    synthesize.add_argument(
        "--height", type=int, default=2400, metavar="H", help="height in pixels"
    )
    synthesize.add_argument("--width", type=int, default=1935, metavar="W", help="width in pixels")
    synthesize.add_argument(
        "--landmarks",
        default="isbi2015",
        metavar="NAME|FILE",
        help=f"landmark set to mark: {LANDMARKS_HELP}; default isbi2015",
    )

    landmarks = commands.add("landmarks", run_landmarks, "list the landmarks of a set")
    landmarks.add_argument(
        "set", nargs="?", default="isbi2015", metavar="NAME|FILE", help=LANDMARKS_HELP
    )

    convert = commands.add("convert", run_convert, "convert annotations to another format")
    convert.add_argument(
        "input", type=place, metavar="INPUT", help="folder of the data set, or annotation file"
    )
    convert.add_argument(
        "output", type=Path, metavar="OUTPUT", help="new folder, or new file of coco, csv or cvat"
    )
    convert.add_argument("--to", required=True, metavar="FORMAT", help=FORMATS_HELP)
    convert.add_argument(
        "--from", dest="source_format", metavar="FORMAT", help="if none, it is recognised"
    )
    add_marks_options(convert)
    convert.add_argument(
        "--reader", default="all", metavar="NAME", help="whose marks to write: all, mean or a name"
    )
    convert.add_argument(
        "--split", default="all", metavar="NAME", help="split to read of a known folder layout"
    )
    convert.add_argument(
        "--copy-films", action="store_true", help="copy the films to OUTPUT/images"
    )

    check = commands.add("data-check", run_data_check, "check a data set")
    check.add_argument(
        "--data", type=place, required=True, metavar="DIR|URI", help="folder of the data set"
    )
    check.add_argument(
        "--config", metavar="FILE|NAME", help=f"configuration of the run to come: {CONFIG_HELP}"
    )
    check.add_argument("--set", action="append", default=[], metavar="a.b=c", help="as in train")
    check.add_argument("--json", type=Path, metavar="FILE", help="file to write the findings to")


def run_synthesize(options: argparse.Namespace) -> None:
    """Draw a data set."""
    from cephray.data import write_dataset
    from cephray.progress import progress

    with progress("drawing films", options.count) as advance:
        write_dataset(
            options.output,
            options.count,
            seed=options.seed,
            size_px=(options.width, options.height),
            on_film=lambda number: advance(1),
            landmarks=landmark_set(options.landmarks),
        )
    print(f"{options.count} films in {options.output}")


def run_landmarks(options: argparse.Namespace) -> None:
    """List the landmarks of a set, in their order, with their definitions."""
    found = landmark_set(options.set)
    abbreviation, name = (max(map(len, column)) for column in (found.abbreviations, found.names))
    for number, landmark in enumerate(found.landmarks, 1):
        print(
            f"{number:>3}  {landmark.abbreviation:<{abbreviation}}  {landmark.name:<{name}}  "
            f"{landmark.definition}".rstrip()
        )


def run_convert(options: argparse.Namespace) -> None:
    """Convert the annotations of a data set."""
    from cephray.data import convert_annotations, format_named
    from cephray.progress import progress

    to = format_named(options.to)
    with progress("converting", None) as advance:
        done = convert_annotations(
            options.input,
            options.output,
            to,
            marks_config(options, reader=options.reader),
            options.split,
            options.source_format and format_named(options.source_format),
            options.copy_films,
            lambda: advance(1),
        )
    readers = ", ".join(done.readers)
    print(
        f"{done.films} films with {done.marks} marks by {readers}: {done.format} to {to.title} in"
        f" {options.output}"
    )


def run_data_check(options: argparse.Namespace) -> None:
    """Check a data set."""
    from cephray.config import load_config
    from cephray.data import check_dataset, format_check, list_films
    from cephray.progress import progress

    data = load_config(options.config, options.set).data
    films = sum(map(len, list_films(options.data).values()))
    make_folder(options.json and options.json.parent)
    with progress("looking at films", 2 * films) as advance:
        check = check_dataset(options.data, data, advance)
    print(format_check(check))
    if options.json is not None:
        options.json.write_text(json.dumps(check.to_json(), indent=1), encoding="utf-8")
    if check.faults:
        raise RunError(
            f"data {options.data}: {len(check.unusable)} of {check.films} films cannot be used; "
            "mend or remove what stands under faults"
        )
