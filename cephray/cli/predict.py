"""The command predict: the landmarks of films."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from cephray.cli.checkpoint_options import (
    FOR_ENSEMBLE,
    add_checkpoint_options,
    add_spacing_option,
    checkpoints_of,
)
from cephray.cli.command import Commands
from cephray.errors import InputError, RunError
from cephray.progress import import_tensorflow
from cephray.storage import place


def add_commands(commands: Commands) -> None:
    """Add this command to the command line."""
    predict = commands.add("predict", run_predict, "find the landmarks of films")
    add_checkpoint_options(predict, repeated=FOR_ENSEMBLE)
    predict.add_argument(
        "--output",
        type=place,
        default=Path("predictions"),
        metavar="DIR|URI",
        help="folder for the results; default: %(default)s",
    )
    add_spacing_option(predict)
    predict.add_argument(
        "--blank-corners",
        action="store_true",
        help="blank the corners of films, in which names are often burnt in",
    )
    predict.add_argument(
        "--num-workers", type=int, metavar="N", help="number of networks that work at a time"
    )
    predict.add_argument(
        "films",
        type=place,
        nargs="+",
        metavar="IMAGE|FOLDER|URI",
        help="films, or folders of films",
    )


def run_predict(options: argparse.Namespace) -> None:
    """Find the landmarks of films."""
    from cephray.checkpoint import CONFIG_FILE
    from cephray.cluster import stop_signals
    from cephray.data import CORNER_PERCENT, find_films
    from cephray.landmarks import landmark_set
    from cephray.prediction import (
        predict_here,
        predict_on_cluster,
        quiet_cluster,
        require_own_output,
        wants_cluster,
        write_results,
    )
    from cephray.progress import progress

    output, spacing_mm, workers = options.output, options.spacing, options.num_workers
    blank_percent = CORNER_PERCENT if options.blank_corners else 0.0
    if (output / CONFIG_FILE).exists():
        raise InputError(f"output {output}: holds a training run; give another folder")
    if spacing_mm is not None and not 0 < spacing_mm < float("inf"):
        raise InputError(f"--spacing must be millimetres per pixel, above 0; got {spacing_mm}")
    if workers is not None and workers < 1:
        raise InputError(f"--num-workers must be at least 1; got {workers}")
    left_out: Counter[str] = Counter()
    films = find_films(
        options.films, output, lambda path: left_out.update([path.suffix.lower() or "no suffix"])
    )
    require_own_output(output, films)
    checkpoint, *others = checkpoints_of(options)
    landmarks = landmark_set(checkpoint.config.data.landmarks)

    with progress("predicting", len(films)) as advance:
        if wants_cluster(len(films), workers):
            with quiet_cluster(), stop_signals():
                outcomes = predict_on_cluster(
                    checkpoint,
                    films,
                    landmarks,
                    spacing_mm,
                    workers,
                    others=others,
                    output=output,
                    blank_percent=blank_percent,
                )
                summary = write_results(outcomes, films, output, advance)
        else:
            import_tensorflow()
            from cephray.prediction import Detector

            with stop_signals():
                detector = Detector(checkpoint, *others)
                outcomes = predict_here(detector, films, landmarks, spacing_mm, blank_percent)
                summary = write_results(outcomes, films, output, advance)
    for line in summary.unread:
        print(f"cephray: passed over: {line}", file=sys.stderr)
    if not summary.written:
        raise InputError("none of the films could be read; nothing was written")
    print(f"{summary.written} of {len(films)} films: results in {output}\n{summary}")
    if left_out:
        kinds = ", ".join(f"{count} {kind}" for kind, count in left_out.most_common())
        print(f"files that are no films, left out: {kinds}")
    if checkpoint.shapes is None:
        print(
            "landmarks were not compared with those of the training films: the checkpoint has no"
            " statistics of them (`cephray compact --data DIR` adds them)"
        )
    print(*summary.lines(), sep="\n", end="\n" if summary.lines() else "")
    if summary.unread:
        raise RunError(f"{len(summary.unread)} of {len(films)} films could not be read")
