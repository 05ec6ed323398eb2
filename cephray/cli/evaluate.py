"""The commands that measure a checkpoint: evaluate, robustness, calibrate."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cephray.cli.checkpoint_options import (
    FOR_ENSEMBLE,
    add_checkpoint_options,
    add_split_option,
    checkpoints_of,
    describe,
)
from cephray.cli.command import Commands, make_folder
from cephray.errors import InputError
from cephray.evaluation import VALIDATION
from cephray.progress import import_tensorflow
from cephray.storage import place

if TYPE_CHECKING:
    from cephray.data import Record

DATA_HELP = "folder of the data set"


def add_commands(commands: Commands) -> None:
    """Add these commands to the command line."""
    evaluate = commands.add(
        "evaluate", run_evaluate, "measure a checkpoint on films with known landmarks"
    )
    add_checkpoint_options(evaluate, repeated=FOR_ENSEMBLE)
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
    add_checkpoint_options(robustness, repeated=FOR_ENSEMBLE)
    robustness.add_argument("--data", type=place, required=True, metavar="DIR|URI", help=DATA_HELP)
    add_split_option(robustness)
    robustness.add_argument("--json", type=Path, metavar="FILE", help="file to write the table to")

    calibrate = commands.add(
        "calibrate", run_calibrate, "calibrate the confidence of a checkpoint"
    )
    add_checkpoint_options(
        calibrate, repeated="repeat it for the runs of several folds, each with its own films"
    )
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
    """Learn the confidence and the regions of a network, or of networks of several folds."""
    import numpy as np

    from cephray.evaluation import read_records

    checkpoints = checkpoints_of(options)
    folds = [read_records(options.data, options.split, one.config) for one in checkpoints]
    for checkpoint in checkpoints:
        if not checkpoint.config.model.spread:
            raise InputError(
                f"checkpoint {checkpoint.folder}: its network knows no spread"
                " (model.spread=false), so that it cannot be calibrated"
            )
    _require_distinct(folds)
    import_tensorflow()
    from cephray.evaluation import evaluate_detector
    from cephray.landmarks import landmark_set
    from cephray.metrics import (
        bands,
        calibrate,
        confidence,
        conformal_factor,
        format_bands,
        format_regions,
        measure_regions,
    )
    from cephray.prediction import Detector
    from cephray.progress import progress

    spreads, errors = [], []
    count = sum(map(len, folds))
    with progress("measuring", count) as advance:
        for checkpoint, records in zip(checkpoints, folds, strict=True):
            data = checkpoint.config.data
            landmarks = landmark_set(data.landmarks)
            result = evaluate_detector(
                Detector(checkpoint), records, options.split, data.reader, landmarks, advance
            )
            assert result.spread_mm is not None
            spreads.append(result.spread_mm)
            errors.append(result.refined_mm)
    spread_mm, errors_mm = np.concatenate(spreads), np.concatenate(errors)
    calibration = calibrate(spread_mm, errors_mm)
    factor = conformal_factor(spread_mm, errors_mm)
    folders = ", ".join(str(checkpoint.folder) for checkpoint in checkpoints)
    print(f"{count} films of {options.split}, checkpoint {folders}\n")
    print(format_bands(bands(confidence(spread_mm, calibration), errors_mm)))
    print(f"\n{format_regions(measure_regions(factor * spread_mm, errors_mm))}")
    print(f"\ninference.confidence=[{calibration.offset:.4f}, {calibration.slope:.4f}]")
    print(f"inference.radius_factor={factor:.4f}")


def _require_distinct(folds: Sequence[Sequence[Record]]) -> None:
    """Refuse folds that share a film: it would count twice."""
    seen: set[str] = set()
    for records in folds:
        films = {record.film for record in records}
        if seen & films:
            raise InputError(
                f"film {min(seen & films)} was held out by two of the runs; train each with"
                " another data.fold and the same train.seed"
            )
        seen |= films
