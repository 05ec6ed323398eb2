"""The command line: options to calls.

Heavy packages are imported by the command that needs them, so that `cephray --help` answers at
once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cephray import __version__
from cephray.command import Parser, run_command
from cephray.errors import InputError, RunError
from cephray.quiet import import_tensorflow
from cephray.storage import place

SPLITS = ("train", "test1", "test2", "all")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    return run_command(_parser(), arguments)


def _parser() -> Parser:
    parser = Parser(prog="cephray", description="Distributed cephalometric landmark detection.")
    parser.add_argument("--version", action="version", version=f"cephray {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(
        name: str,
        run: Callable[[argparse.Namespace], None],
        summary: str,
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=summary, description=f"{summary.capitalize()}.", allow_abbrev=False
        )
        command.set_defaults(command=run)
        return command

    info = add("info", _info, "versions, devices, and what the op was built for")
    info.add_argument("--json", action="store_true", help="print JSON")

    synthesize = add("synthesize", _synthesize, "draw films with known landmarks")
    synthesize.add_argument("--output", type=Path, required=True, metavar="DIR")
    synthesize.add_argument("--count", type=int, required=True, metavar="N", help="films")
    synthesize.add_argument("--seed", type=int, default=0, metavar="S")
    synthesize.add_argument("--height", type=int, default=2400, metavar="H", help="pixels")
    synthesize.add_argument("--width", type=int, default=1935, metavar="W", help="pixels")

    check = add("data-check", _data_check, "say what is wrong with a data set, or worth knowing")
    check.add_argument("--data", type=Path, required=True, metavar="DIR", help="data set")
    check.add_argument("--config", type=Path, metavar="FILE", help="YAML, of the run to come")
    check.add_argument("--set", action="append", default=[], metavar="a.b=c", help="as for train")
    check.add_argument("--json", type=Path, metavar="FILE", help="write what was found")

    train = add("train", _train, "train on a Ray cluster")
    train.add_argument("--data", type=Path, required=True, metavar="DIR", help="data set")
    train.add_argument("--output", type=place, required=True, metavar="DIR|URI", help="of the run")
    train.add_argument("--config", type=Path, metavar="FILE", help="YAML")
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

    evaluate = add("evaluate", _evaluate, "measure a checkpoint on films with known landmarks")
    evaluate.add_argument("--checkpoint", type=place, required=True, metavar="DIR|URI")
    evaluate.add_argument("--data", type=Path, required=True, metavar="DIR")
    evaluate.add_argument("--split", choices=SPLITS, required=True)
    evaluate.add_argument("--reader", choices=("mean", "senior", "junior"), help="whose marks")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the errors")
    evaluate.add_argument("--output", type=Path, metavar="DIR", help="of report and overlays")

    predict = add("predict", _predict, "find the landmarks of films")
    predict.add_argument("--checkpoint", type=place, required=True, metavar="DIR|URI")
    predict.add_argument("--output", type=Path, required=True, metavar="DIR")
    predict.add_argument("--spacing", type=float, metavar="MM", help="per pixel, where unknown")
    predict.add_argument("--num-workers", type=int, metavar="N", help="networks at work at once")
    predict.add_argument("films", type=Path, nargs="+", metavar="IMAGE|FOLDER")

    robustness = add("robustness", _robustness, "measure a checkpoint on disturbed films")
    robustness.add_argument("--checkpoint", type=place, required=True, metavar="DIR|URI")
    robustness.add_argument("--data", type=Path, required=True, metavar="DIR")
    robustness.add_argument("--split", choices=SPLITS, required=True)
    robustness.add_argument("--json", type=Path, metavar="FILE", help="write the rows")

    export = add("export", _export, "write a checkpoint as a TensorFlow SavedModel")
    export.add_argument("--checkpoint", type=place, required=True, metavar="DIR|URI")
    export.add_argument("--output", type=Path, required=True, metavar="DIR", help="of the model")

    benchmark = add("benchmark", _benchmark, "time what cephray is made of, both sides in one run")
    benchmark.add_argument("what", choices=("roi-crop", "train-step", "input"))
    benchmark.add_argument("--json", type=Path, metavar="FILE", help="write the rows")
    benchmark.add_argument("--picture", type=Path, metavar="FILE", help="draw a PNG")
    benchmark.add_argument("--full", action="store_true", help="every combination; takes hours")
    benchmark.add_argument("--data", type=Path, metavar="DIR", help="films of benchmark input")
    return parser


def _make_folder(folder: Path | None) -> None:
    """Make a folder of results before the work: none that cannot be kept is done."""
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder} cannot be written to: {error}") from None


def _info(options: argparse.Namespace) -> None:
    import_tensorflow()
    from cephray.info import collect, format_info

    facts = collect()
    print(json.dumps(facts, indent=1) if options.json else format_info(facts))


def _synthesize(options: argparse.Namespace) -> None:
    from cephray.data.synthetic import write_dataset
    from cephray.progress import progress

    with progress("drawing films", options.count) as advance:
        write_dataset(
            options.output,
            options.count,
            seed=options.seed,
            size_px=(options.width, options.height),
            on_film=lambda number: advance(1),
        )
    print(f"{options.count} films in {options.output}")


def _data_check(options: argparse.Namespace) -> None:
    from cephray.config import load_config
    from cephray.data.check import check_dataset
    from cephray.data.check_text import format_check
    from cephray.data.formats import list_films
    from cephray.progress import progress

    data = load_config(options.config, options.set).data
    films = sum(map(len, list_films(options.data).values()))
    _make_folder(options.json and options.json.parent)
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


def _train(options: argparse.Namespace) -> None:
    from cephray.config import load_config
    from cephray.train.checkpoint import CONFIG
    from cephray.train.compatibility import require_same_run
    from cephray.train.plan import plan_run

    overrides = list(options.set)
    if options.num_workers is not None:
        overrides.append(f"train.num_workers={options.num_workers}")
    if options.use_gpu:
        overrides.append("train.use_gpu=true")
    saved = options.output / CONFIG
    going_on = options.resume and saved.is_file()
    base = saved if going_on and options.config is None else options.config
    config = load_config(base, overrides)
    if going_on:
        require_same_run(config, load_config(saved), saved)
    plan = plan_run(options.data, options.output, config, options.resume)

    import_tensorflow()
    from cephray.train.launch import launch

    best = launch(plan, options.verbose)
    print(f"best epoch {best.progress.epoch}: {best.folder}")


def _evaluate(options: argparse.Namespace) -> None:
    from cephray.data.formats import read_dataset
    from cephray.landmarks import landmark_set
    from cephray.progress import progress
    from cephray.subsets import find_repeats, training_films
    from cephray.train.checkpoint import find_checkpoint

    checkpoint = find_checkpoint(options.checkpoint)
    data = checkpoint.config.data
    if options.reader is not None:
        data = data.model_copy(update={"reader": options.reader})
    records = read_dataset(options.data, options.split, data)
    landmarks = landmark_set(data.landmarks)
    _make_folder(options.json and options.json.parent)
    _make_folder(options.output)

    import_tensorflow()
    from cephray.evaluate import draw_overlays, evaluate
    from cephray.evaluate_text import format_evaluation
    from cephray.inference import Detector

    training = training_films(options.data, records)
    with progress("looking for copies", len(training) + len(records)) as advance:
        copies = find_repeats(records, training, advance)
    with progress("evaluating", len(records)) as advance:
        result = evaluate(
            Detector(checkpoint), records, options.split, data.reader, landmarks, advance, copies
        )
    print(
        f"{len(records)} films of {options.split}, truth: {data.reader} of the readers, "
        f"checkpoint {checkpoint.folder}\n"
    )
    print(format_evaluation(result))
    if options.json is not None:
        options.json.write_text(json.dumps(result.to_json(), indent=1), encoding="utf-8")
    if options.output is not None:
        from cephray.report import write_report

        draw_overlays(result, records, options.output / "overlays")
        page = write_report(options.output, result, records, checkpoint)
        print(f"\noverlays in {options.output / 'overlays'}, report {page}")


def _predict(options: argparse.Namespace) -> None:
    from cephray.data.search import find_films
    from cephray.landmarks import landmark_set
    from cephray.predict import predict_here, require_own_output, write_results
    from cephray.predict_on_cluster import predict_on_cluster, quiet_cluster, wants_cluster
    from cephray.progress import progress
    from cephray.train.checkpoint import CONFIG, find_checkpoint
    from cephray.train.signals import stop_signals

    output, spacing_mm, workers = options.output, options.spacing, options.num_workers
    if (output / CONFIG).exists():
        raise InputError(f"output {output}: holds a training run; give another folder")
    if spacing_mm is not None and not 0 < spacing_mm < float("inf"):
        raise InputError(f"--spacing must be millimetres per pixel, above 0; got {spacing_mm}")
    if workers is not None and workers < 1:
        raise InputError(f"--num-workers must be at least 1; got {workers}")
    films = find_films(options.films, leave_out=output)
    require_own_output(output, films)
    checkpoint = find_checkpoint(options.checkpoint)
    landmarks = landmark_set(checkpoint.config.data.landmarks)

    with progress("predicting", len(films)) as advance:
        if wants_cluster(len(films), workers):
            with quiet_cluster(), stop_signals():
                outcomes = predict_on_cluster(checkpoint, films, landmarks, spacing_mm, workers)
                summary = write_results(outcomes, films, output, advance)
        else:
            import_tensorflow()
            from cephray.inference import Detector

            with stop_signals():
                outcomes = predict_here(Detector(checkpoint), films, landmarks, spacing_mm)
                summary = write_results(outcomes, films, output, advance)
    for line in summary.unread:
        print(f"cephray: passed over: {line}", file=sys.stderr)
    if not summary.written:
        raise InputError("none of the films could be read; nothing was written")
    print(f"{summary.written} of {len(films)} films: results in {output}\n{summary}")
    if summary.unread:
        raise RunError(f"{len(summary.unread)} of {len(films)} films could not be read")


def _robustness(options: argparse.Namespace) -> None:
    from cephray.data.disturb import DISTURBANCES
    from cephray.data.formats import read_dataset
    from cephray.progress import progress
    from cephray.train.checkpoint import find_checkpoint

    checkpoint = find_checkpoint(options.checkpoint)
    records = read_dataset(options.data, options.split, checkpoint.config.data)
    _make_folder(options.json and options.json.parent)
    import_tensorflow()
    from cephray.inference import Detector
    from cephray.robustness import format_rows, measure_robustness

    with progress("measuring", len(records) * len(DISTURBANCES)) as advance:
        rows = measure_robustness(Detector(checkpoint), records, advance)
    print(
        f"{len(records)} films of {options.split}, truth: {checkpoint.config.data.reader} of the "
        f"readers, checkpoint {checkpoint.folder}\n"
    )
    print(format_rows(rows))
    if options.json is not None:
        content = {"split": options.split, "rows": [row.to_json() for row in rows]}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _export(options: argparse.Namespace) -> None:
    from cephray.train.checkpoint import find_checkpoint

    checkpoint = find_checkpoint(options.checkpoint)
    import_tensorflow()
    from cephray.export import export

    export(checkpoint, options.output)
    print(f"model of {checkpoint.folder} in {options.output}")


def _benchmark(options: argparse.Namespace) -> None:
    taken = {"roi-crop": ("full", "picture"), "train-step": ("full",), "input": ("data",)}
    for name in ("full", "picture", "data"):
        if getattr(options, name) and name not in taken[options.what]:
            valid = ", ".join(f"--{option}" for option in ("json", *taken[options.what]))
            raise InputError(f"benchmark {options.what} takes no --{name}; it takes {valid}")
    for path in filter(None, (options.json, options.picture)):  # not after an hour's run
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error}") from error
    if options.what == "roi-crop":
        from cephray.benchmark import roi_crop

        roi_crop.run(options.full, options.json, options.picture)
    elif options.what == "train-step":
        from cephray.benchmark import train_step

        train_step.run(options.full, options.json)
    else:
        from cephray.benchmark import input as benchmark_input

        benchmark_input.run(options.data, options.json)


if __name__ == "__main__":
    sys.exit(main())
