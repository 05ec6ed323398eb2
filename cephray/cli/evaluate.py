"""The commands that measure a checkpoint: evaluate, robustness, calibrate."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cephray.cli.checkpoint_options import (
    add_checkpoint_options,
    add_split_option,
    checkpoint_of,
    checkpoints_of,
    describe,
)
from cephray.cli.command import Commands, make_folder
from cephray.errors import InputError
from cephray.evaluation import VALIDATION
from cephray.progress import import_tensorflow
from cephray.storage import place

DATA_HELP = "folder of the data set"


def add_commands(commands: Commands) -> None:
    """Add these commands to the command line."""
    evaluate = commands.add(
        "evaluate", run_evaluate, "measure a checkpoint on films with known landmarks"
    )
    add_checkpoint_options(evaluate, ensemble=True)
    evaluate.add_argument("--data", type=place, required=True, metavar="DIR|URI", help=DATA_HELP)
    add_split_option(evaluate)
    evaluate.add_argument(
        "--reader",
        choices=("mean", "senior", "junior"),
        help="reader whose marks are the truth; default as in training",
    )
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="file to write the errors to")
    evaluate.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for the report and the overlays"
    )

    robustness = commands.add(
        "robustness", run_robustness, "measure a checkpoint on disturbed films"
    )
    add_checkpoint_options(robustness, ensemble=True)
    robustness.add_argument("--data", type=place, required=True, metavar="DIR|URI", help=DATA_HELP)
    add_split_option(robustness)
    robustness.add_argument("--json", type=Path, metavar="FILE", help="file to write the table to")

    calibrate = commands.add(
        "calibrate", run_calibrate, "calibrate the confidence of a checkpoint"
    )
    add_checkpoint_options(calibrate)
    calibrate.add_argument("--data", type=place, required=True, metavar="DIR|URI", help=DATA_HELP)
    add_split_option(calibrate, default=VALIDATION)


def run_evaluate(options: argparse.Namespace) -> None:
    """Measure a checkpoint on films with known landmarks."""
    from cephray.evaluation import draw_overlays, evaluate_checkpoints, format_evaluation

    checkpoints = checkpoints_of(options)
    make_folder(options.json and options.json.parent)
    make_folder(options.output)
    result, records = evaluate_checkpoints(
        checkpoints, options.data, options.split, options.reader
    )
    print(
        f"{len(records)} films of {options.split}, truth: {result.ground_truth} of the readers, "
        f"{describe(checkpoints)}\n"
    )
    print(format_evaluation(result))
    if options.json is not None:
        options.json.write_text(json.dumps(result.to_json(), indent=1), encoding="utf-8")
    if options.output is not None:
        from cephray.report import write_report

        draw_overlays(result, records, options.output / "overlays")
        page = write_report(options.output, result, records, checkpoints[0], checkpoints[1:])
        print(f"\noverlays in {options.output / 'overlays'}, report {page}")


def run_robustness(options: argparse.Namespace) -> None:
    """Measure a checkpoint on disturbed films."""
    from cephray.evaluation import DISTURBANCES, read_records
    from cephray.progress import progress

    checkpoint, *others = checkpoints_of(options)
    records = read_records(options.data, options.split, checkpoint.config)
    make_folder(options.json and options.json.parent)
    import_tensorflow()
    from cephray.evaluation import format_rows, measure_robustness
    from cephray.prediction import Detector

    with progress("measuring", len(records) * len(DISTURBANCES)) as advance:
        rows = measure_robustness(Detector(checkpoint, *others), records, advance)
    print(
        f"{len(records)} films of {options.split}, truth: {checkpoint.config.data.reader} of the "
        f"readers, {describe([checkpoint, *others])}\n"
    )
    print(format_rows(rows))
    if options.json is not None:
        content = {"split": options.split, "rows": [row.to_json() for row in rows]}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


def run_calibrate(options: argparse.Namespace) -> None:
    """Learn the confidence of a checkpoint's network."""
    from cephray.evaluation import read_records

    checkpoint = checkpoint_of(options)
    records = read_records(options.data, options.split, checkpoint.config)
    if not checkpoint.config.model.spread:
        raise InputError(
            f"checkpoint {checkpoint.folder}: its network knows no spread (model.spread=false), "
            "so that it cannot be calibrated"
        )
    import_tensorflow()
    from cephray.evaluation import evaluate_detector
    from cephray.landmarks import landmark_set
    from cephray.metrics import bands, calibrate, confidence, format_bands
    from cephray.prediction import Detector
    from cephray.progress import progress

    data = checkpoint.config.data
    landmarks = landmark_set(data.landmarks)
    with progress("measuring", len(records)) as advance:
        result = evaluate_detector(
            Detector(checkpoint), records, options.split, data.reader, landmarks, advance
        )
    assert result.spread_mm is not None
    calibration = calibrate(result.spread_mm, result.refined_mm)
    sure = confidence(result.spread_mm, calibration)
    print(f"{len(records)} films of {options.split}, checkpoint {checkpoint.folder}\n")
    print(format_bands(bands(sure, result.refined_mm)))
    print(f"\ninference.confidence=[{calibration.offset:.4f}, {calibration.slope:.4f}]")
