"""`python -m tune.confirm`: train the best configuration of a search and the baseline again.

    python -m tune.confirm --output DIR

Each pair of runs has another seed and holds out another fold of the Training films. Runs that are
finished are kept, so that the command goes on after a kill.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cephray.cli import Parser, run_command
from cephray.config import Config, fold_count, override
from cephray.data import KnownCopies
from cephray.errors import InputError, RunError, Stopped
from cephray.progress import prepare_tensorflow
from cephray.storage import place
from tune.drivers import driving
from tune.settings import COPIES, Settings, load_settings
from tune.tuner import RAY, environment

RUNS = "confirmation"  # folder of the runs, in that of the search
SEEDS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return run_command(_parser(), arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m tune.confirm",
        description="Train a search's best configuration and its baseline again, with other seeds "
        "on other films, and tell whether the best one is better beyond noise.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--output", type=Path, required=True, metavar="DIR", help="of the search")
    add("--seeds", type=int, default=SEEDS, metavar="N", help=f"pairs of runs; default {SEEDS}")
    add("--storage", metavar="URL", help="of the study, where it has a password")
    add("--verbose", action="store_true", help="show the logs of Ray and TensorFlow")
    parser.set_defaults(command=_run)
    return parser


def _run(options: argparse.Namespace) -> None:
    from tune.report import report
    from tune.study import best_trials, open_storage, open_study

    if options.seeds < 1:
        raise InputError(f"--seeds: must be at least 1; got {options.seeds}")
    settings = load_settings(options.output.resolve())
    storage = open_storage(options.storage or settings.search.storage, settings.output)
    study = open_study(storage, settings.search.study_name, settings.objectives)
    best = best_trials(study)
    if not best:
        raise InputError(f"output {settings.output}: no trial has finished; nothing to confirm")
    if best[0].number == 0:
        raise InputError(
            f"output {settings.output}: the best trial is the baseline; nothing to confirm"
        )
    with driving(settings.output, join=False):
        _confirm(settings, best[0].number, best[0].params, options.seeds, options.verbose)
        report(settings, study)


def pairs_of(base: Config, count: int) -> list[tuple[int, int]]:
    """Choose the fold and the seed of each pair of runs.

    The fold that trials were compared on is left out, unless there is no other.

    Args:
        base: configuration that the trials have in common.
        count: number of pairs.
    """
    used = base.data.fold if base.data.validation == "holdout" else None
    folds = [fold for fold in range(fold_count(base.data.holdout_fraction)) if fold != used]
    folds = folds or [base.data.fold]
    return [(folds[n % len(folds)], base.train.seed + 1 + n) for n in range(count)]


@environment()  # before Ray is imported
def _confirm(
    settings: Settings, trial: int, values: Mapping[str, Any], count: int, verbose: bool
) -> None:
    """Train both configurations, and write what their errors show."""
    from tune.confirmation import Measured, confirm
    from tune.space import applied

    configs = {"baseline": settings.base, f"trial-{trial:04d}": applied(values, settings.base)}
    pairs = pairs_of(settings.base, count)
    folders = {
        (name, pair): settings.output / RUNS / f"{name}-fold-{pair[0]}-seed-{pair[1]}"
        for pair in pairs
        for name in configs
    }
    runs = {folder: _as_pair(configs[name], *pair) for (name, pair), folder in folders.items()}
    _train_all(settings, runs, verbose)
    baseline, best = configs
    measured = []
    for pair in pairs:
        films, baseline_mm = _errors_mm(settings, folders[baseline, pair])
        same, best_mm = _errors_mm(settings, folders[best, pair])
        assert films == same
        measured.append(Measured(*pair, films, baseline_mm, best_mm))
    confirm(trial, measured).save(settings.output)


def _as_pair(config: Config, fold: int, seed: int) -> Config:
    return override(config, {"data.validation": "holdout", "data.fold": fold, "train.seed": seed})


def _train_all(settings: Settings, runs: Mapping[Path, Config], verbose: bool) -> None:
    """Train in each folder, or what is left there: as many at a time as there is room for.

    Raises:
        RunError: a run failed; the others were finished.
        Stopped: a signal came; says how to go on.
    """
    prepare_tensorflow()
    from cephray.cluster import cluster_nodes, connected, places, stop_signals
    from tune.rerun import train_side_by_side

    train = settings.base.train
    try:
        with connected(verbose, print), stop_signals():
            room = places(cluster_nodes(), train.cpus_per_worker or 1, train.gpus)
            at_once = max(1, min(len(runs), room // train.num_workers))
            print(f"training {len(runs)} networks, {at_once} at a time", flush=True)
            failed = train_side_by_side(
                runs,
                place(settings.search.data),
                KnownCopies.load(settings.output / COPIES),
                settings.output / RAY,
                at_once,
                lambda line: print(line, flush=True),
                verbose,
            )
    except Stopped as stopped:
        raise Stopped(
            stopped.signal, f"{stopped}; epochs are kept: go on with the same command"
        ) from None
    if failed:
        raise RunError(f"{failed[0]}; the same command tries it again, and keeps the others")


def _errors_mm(settings: Settings, folder: Path) -> tuple[tuple[str, ...], Any]:
    """Return the films that a run held out, and the mean error of its best checkpoint on each."""
    import numpy as np

    from cephray.evaluation import evaluate

    found = evaluate(folder, data=place(settings.search.data), split="validation")
    marked = np.flatnonzero(np.isfinite(found.refined_mm).any(axis=1))
    errors_mm = np.nanmean(found.refined_mm[marked], axis=1).astype(np.float64)
    return tuple(found.films[n] for n in marked), errors_mm


if __name__ == "__main__":
    sys.exit(main())
