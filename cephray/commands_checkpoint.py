"""What the commands on a checkpoint do: options to calls.

Heavy packages are imported by the command that needs them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cephray.command import make_folder
from cephray.errors import InputError, RunError
from cephray.quiet import import_tensorflow

if TYPE_CHECKING:
    from cephray.config import Config
    from cephray.data.formats import Record
    from cephray.train.checkpoint import Checkpoint

VALIDATION = "validation"
"""The films that a checkpoint's run held out."""


def run_evaluate(options: argparse.Namespace) -> None:
    """Measure a checkpoint on films with known landmarks."""
    from cephray.landmarks import landmark_set
    from cephray.progress import progress
    from cephray.subsets import find_repeats, training_films

    checkpoint, *others = _open_checkpoints(options)
    config = checkpoint.config
    data = config.data
    if options.reader is not None:
        data = data.model_copy(update={"reader": options.reader})
    records = _read_records(options, config.model_copy(update={"data": data}))
    landmarks = landmark_set(data.landmarks)
    make_folder(options.json and options.json.parent)
    make_folder(options.output)

    import_tensorflow()
    from cephray.evaluate import draw_overlays, evaluate
    from cephray.evaluate_text import format_evaluation
    from cephray.inference import Detector

    training = training_films(options.data, records)
    with progress("looking for copies", len(training) + len(records)) as advance:
        copies = find_repeats(records, training, advance)
    with progress("evaluating", len(records)) as advance:
        result = evaluate(
            Detector(checkpoint, *others),
            records,
            options.split,
            data.reader,
            landmarks,
            advance,
            copies,
        )
    print(
        f"{len(records)} films of {options.split}, truth: {data.reader} of the readers, "
        f"{_name([checkpoint, *others])}\n"
    )
    print(format_evaluation(result))
    if options.json is not None:
        options.json.write_text(json.dumps(result.to_json(), indent=1), encoding="utf-8")
    if options.output is not None:
        from cephray.report import write_report

        draw_overlays(result, records, options.output / "overlays")
        page = write_report(options.output, result, records, checkpoint, others)
        print(f"\noverlays in {options.output / 'overlays'}, report {page}")


def run_calibrate(options: argparse.Namespace) -> None:
    """Learn the confidence of a checkpoint's network."""
    checkpoint = _open_checkpoint(options)
    records = _read_records(options, checkpoint.config)
    if not checkpoint.config.model.spread:
        raise InputError(
            f"checkpoint {checkpoint.folder}: its network knows no spread (model.spread=false), "
            "so that it cannot be calibrated"
        )
    import_tensorflow()
    from cephray.confidence import bands, calibrate, confidence, format_bands
    from cephray.evaluate import evaluate
    from cephray.inference import Detector
    from cephray.landmarks import landmark_set
    from cephray.progress import progress

    data = checkpoint.config.data
    landmarks = landmark_set(data.landmarks)
    with progress("measuring", len(records)) as advance:
        result = evaluate(
            Detector(checkpoint), records, options.split, data.reader, landmarks, advance
        )
    assert result.spread_mm is not None
    calibration = calibrate(result.spread_mm, result.refined_mm)
    sure = confidence(result.spread_mm, calibration)
    print(f"{len(records)} films of {options.split}, checkpoint {checkpoint.folder}\n")
    print(format_bands(bands(sure, result.refined_mm)))
    print(f"\ninference.confidence=[{calibration.offset:.4f}, {calibration.slope:.4f}]")


def run_predict(options: argparse.Namespace) -> None:
    """Find the landmarks of films."""
    from cephray.data.search import find_films
    from cephray.landmarks import landmark_set
    from cephray.predict import predict_here, require_own_output, write_results
    from cephray.predict_on_cluster import predict_on_cluster, quiet_cluster, wants_cluster
    from cephray.progress import progress
    from cephray.train.checkpoint import CONFIG
    from cephray.train.signals import stop_signals

    output, spacing_mm, workers = options.output, options.spacing, options.num_workers
    if (output / CONFIG).exists():
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
    checkpoint, *others = _open_checkpoints(options)
    landmarks = landmark_set(checkpoint.config.data.landmarks)

    with progress("predicting", len(films)) as advance:
        if wants_cluster(len(films), workers):
            with quiet_cluster(), stop_signals():
                outcomes = predict_on_cluster(
                    checkpoint, films, landmarks, spacing_mm, workers, others=others
                )
                summary = write_results(outcomes, films, output, advance)
        else:
            import_tensorflow()
            from cephray.inference import Detector

            with stop_signals():
                detector = Detector(checkpoint, *others)
                outcomes = predict_here(detector, films, landmarks, spacing_mm)
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


def run_robustness(options: argparse.Namespace) -> None:
    """Measure a checkpoint on disturbed films."""
    from cephray.data.disturb import DISTURBANCES
    from cephray.progress import progress

    checkpoint, *others = _open_checkpoints(options)
    records = _read_records(options, checkpoint.config)
    make_folder(options.json and options.json.parent)
    import_tensorflow()
    from cephray.inference import Detector
    from cephray.robustness import format_rows, measure_robustness

    with progress("measuring", len(records) * len(DISTURBANCES)) as advance:
        rows = measure_robustness(Detector(checkpoint, *others), records, advance)
    print(
        f"{len(records)} films of {options.split}, truth: {checkpoint.config.data.reader} of the "
        f"readers, {_name([checkpoint, *others])}\n"
    )
    print(format_rows(rows))
    if options.json is not None:
        content = {"split": options.split, "rows": [row.to_json() for row in rows]}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


def run_compact(options: argparse.Namespace) -> None:
    """Write a checkpoint for prediction alone."""
    from cephray.compact import compact

    checkpoint = _open_checkpoint(options)
    compact(checkpoint, options.output, options.data)
    size = sum(path.stat().st_size for path in options.output.iterdir())
    print(f"{checkpoint.folder} in {options.output}: {size / 1e6:.1f} MB")


def run_export(options: argparse.Namespace) -> None:
    """Write a SavedModel."""
    checkpoint = _open_checkpoint(options)
    import_tensorflow()
    from cephray.export import export

    export(checkpoint, options.output)
    print(f"model of {checkpoint.folder} in {options.output}")


def _open_checkpoint(options: argparse.Namespace) -> Checkpoint:
    """Open the one checkpoint that is given, or the one that comes with cephray."""
    given = options.checkpoint or []
    if len(given) > 1:
        raise InputError(f"--checkpoint: one is wanted here; got {', '.join(map(str, given))}")
    return _open_checkpoints(options)[0]


def _open_checkpoints(options: argparse.Namespace) -> list[Checkpoint]:
    """Open the checkpoints that are given, or the one that comes with cephray."""
    from cephray.config import with_inference
    from cephray.shipped import shipped_checkpoint
    from cephray.train.checkpoint import find_checkpoint

    given = options.checkpoint
    found = [shipped_checkpoint()] if given is None else [find_checkpoint(one) for one in given]
    return [replace(one, config=with_inference(one.config, options.set)) for one in found]


def _name(checkpoints: Sequence[Checkpoint]) -> str:
    kind = "checkpoint" if len(checkpoints) == 1 else f"ensemble of {len(checkpoints)} checkpoints"
    return f"{kind} {', '.join(str(checkpoint.folder) for checkpoint in checkpoints)}"


def _read_records(options: argparse.Namespace, config: Config) -> list[Record]:
    """Read the films of a split; of validation, those that the run held out."""
    from cephray.data.formats import read_dataset
    from cephray.train.plan import choose_films

    if options.split != VALIDATION:
        return read_dataset(options.data, options.split, config.data)
    _, records = choose_films(options.data, config)
    if not records:
        raise InputError(
            f"--split {VALIDATION}: the checkpoint's run validated on no films "
            "(data.validation=none); choose another split"
        )
    return records
