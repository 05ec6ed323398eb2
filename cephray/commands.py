"""What the commands on data and training do, and the benchmarks: options to calls.

Heavy packages are imported by the command that needs them.
"""

from __future__ import annotations

import argparse
import json

from cephray.command import make_folder
from cephray.errors import InputError, RunError
from cephray.quiet import import_tensorflow


def run_info(options: argparse.Namespace) -> None:
    """Print versions, devices and what the op was built for."""
    import_tensorflow()
    from cephray.info import collect, format_info

    facts = collect()
    print(json.dumps(facts, indent=1) if options.json else format_info(facts))


def run_synthesize(options: argparse.Namespace) -> None:
    """Draw a data set."""
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


def run_data_check(options: argparse.Namespace) -> None:
    """Check a data set."""
    from cephray.config import load_config
    from cephray.data.check import check_dataset
    from cephray.data.check_text import format_check
    from cephray.data.formats import list_films
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


def run_train(options: argparse.Namespace) -> None:
    """Train."""
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


def run_benchmark(options: argparse.Namespace) -> None:
    """Time a part of cephray."""
    taken = {
        "roi-crop": ("full", "picture"),
        "train-step": ("full",),
        "input": ("data",),
        "predict": ("data",),
    }
    for name in ("full", "picture", "data"):
        if getattr(options, name) and name not in taken[options.what]:
            valid = ", ".join(f"--{option}" for option in ("json", *taken[options.what]))
            raise InputError(f"benchmark {options.what} takes no --{name}; it takes {valid}")
    for path in filter(None, (options.json, options.picture)):  # not after an hour's run
        if path.is_dir():
            raise InputError(f"{path} is a folder; give the path of a file")
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
    elif options.what == "predict":
        from cephray.benchmark import predict

        predict.run(options.data, options.json)
    else:
        from cephray.benchmark import input as benchmark_input

        benchmark_input.run(options.data, options.json)
