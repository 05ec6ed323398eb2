"""`python -m tune.search`: a search over keys of the configuration.

The options are checked and written down first; then Ray Tune runs the trials that Optuna
draws, each one a run of `cephray train`; the results are written after every trial.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cephray.cli import Parser, run_command
from cephray.config import Config, override, preset_files
from cephray.data import KnownCopies
from cephray.errors import InputError, RunError, Stopped
from cephray.progress import prepare_tensorflow
from cephray.storage import place
from cephray.training import plan_run
from tune.drivers import Driver, driving
from tune.settings import COPIES, SEARCH, Settings, settle
from tune.space import DEFAULT, space_files
from tune.tuner import RAY, RESOURCES, environment, fit

if TYPE_CHECKING:
    from tune.searcher import HasRoom, Values


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return run_command(_parser(), arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m tune.search",
        description="Search for the configuration with the lowest validation error.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", type=place, required=True, metavar="DIR|URI", help="data set")
    add("--output", type=Path, required=True, metavar="DIR", help="of the search")
    add(
        "--config",
        metavar="FILE|NAME",
        help=f"what trials have in common: preset ({', '.join(preset_files())}) or YAML file",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="a.b=c",
        help="set a key of the configuration",
    )
    add(
        "--space",
        metavar="FILE|NAME",
        help=f"keys and their ranges: a space of the package ({', '.join(space_files())}) or a "
        f"YAML file; default {DEFAULT}",
    )
    add(
        "--trials",
        type=int,
        metavar="N",
        help="number of trials, failed ones included; default 16",
    )
    add("--seed", type=int, metavar="S", help="seed of Optuna's sampler; default 0")
    add(
        "--validation",
        choices=("holdout", "test1"),
        help="films to validate on; default: held-out Training films",
    )
    add(
        "--second-objective",
        choices=("latency", "parameters"),
        help="minimise this too, and show the Pareto front",
    )
    add(
        "--grace-epochs",
        type=int,
        metavar="N",
        help="epochs before a trial can be pruned; default: a quarter",
    )
    add(
        "--reduction-factor",
        type=int,
        metavar="N",
        help="one trial in N goes on at each rung; default 2",
    )
    add("--storage", metavar="URL", help="database of the study; default a journal in --output")
    add("--num-workers", type=int, metavar="N", help="number of workers of each trial")
    add("--use-gpu", action="store_true", help="train on GPUs, one for each worker")
    add(
        "--gpus-per-trial",
        type=float,
        metavar="G",
        help="GPUs of each trial, with --use-gpu implied; with 0.25, four trials share one",
    )
    add(
        "--max-concurrent",
        type=int,
        metavar="N",
        help="trials at a time; default: as many as there is room for",
    )
    add("--resume", action="store_true", help="resume the search in --output")
    add(
        "--join",
        action="store_true",
        help="work on the search in --output beside other drivers; begin it if there is none",
    )
    add("--verbose", action="store_true", help="show the logs of Ray and TensorFlow")
    parser.set_defaults(command=_run)
    return parser


def _run(options: argparse.Namespace) -> None:
    if options.max_concurrent is not None and options.max_concurrent < 1:
        raise InputError(f"--max-concurrent: must be at least 1; got {options.max_concurrent}")
    settings = settle(options)
    # What no trial could do without, said before anything is started or written.
    copies = KnownCopies.load(settings.output / COPIES)
    plan = plan_run(
        place(settings.search.data),
        settings.output / ".plan",
        settings.base,
        show=lambda line: None,
        copies=copies,
    )
    counted = settings.search.model_copy(update={"validation_films": len(plan.validation)})
    settings = replace(settings, search=counted)
    settings.output.mkdir(parents=True, exist_ok=True)
    with driving(settings.output, options.join) as driver:
        copies.save(settings.output / COPIES)
        search(settings, driver, options.max_concurrent, options.verbose)


@environment()  # before Ray is imported
def search(
    settings: Settings,
    driver: Driver,
    max_concurrent: int | None = None,
    verbose: bool = False,
) -> None:
    """Run what is left of a search on a Ray cluster: the running one, or one started here.

    Args:
        settings: of the search.
        driver: this process, as one that works on the search.
        max_concurrent: number of trials at a time. If None, as many as the cluster has room for.
        verbose: let Ray's and TensorFlow's own logs through.

    Raises:
        InputError: the storage cannot be used, or is another search's.
        RunError: the cluster cannot hold a trial, or all trials failed.
        Stopped: a signal came; says how to go on.
    """
    prepare_tensorflow()
    from cephray.cluster import connected, stop_signals
    from tune.leaderboard import write_results
    from tune.report import report
    from tune.study import begun_trials, open_storage, open_study

    output = settings.output
    storage = open_storage(settings.search.storage, output)
    study = open_study(storage, settings.search.study_name, settings.objectives)
    if begun_trials(study) and not (output / SEARCH).exists():
        raise InputError(
            f"storage {settings.search.storage or output}: has trials of another search that was "
            f"called {settings.search.study_name!r}; give an --output of another name"
        )
    settings.save()
    try:
        with connected(verbose, print), stop_signals():
            settings = replace(settings, base=_with_cpus(settings.base, max_concurrent))
            settings.save()
            _run_trials(settings, study, driver, max_concurrent, verbose)
    except Stopped as stopped:
        write_results(settings, study)
        raise Stopped(
            stopped.signal, f"{stopped}; finished trials are kept: go on with --resume"
        ) from None
    entries = report(settings, study)
    if all(entry.reason for entry in entries):
        raise RunError(f"all {len(entries)} trials failed; the first: {entries[0].reason}")


def _with_cpus(base: Config, max_concurrent: int | None) -> Config:
    """Settle the CPUs of each worker: what `best.yaml` is trained with again.

    Trials that run at a time on the cluster's GPUs share its CPUs.
    """
    from cephray.cluster import cluster_nodes, cpus_per_worker, places

    train = base.train
    at_once = 1
    if train.use_gpu:
        at_once = max(1, places(cluster_nodes(), 1, train.gpus) // train.num_workers)
        at_once = min(at_once, max_concurrent or at_once)
    cpus = cpus_per_worker(
        at_once * train.num_workers, train.gpus, train.cpus_per_worker, train.wait_for_resources_s
    )
    return override(base, {"train.cpus_per_worker": cpus})


def _run_trials(
    settings: Settings, study: Any, driver: Driver, max_concurrent: int | None, verbose: bool
) -> None:
    import ray.tune

    from tune.follow import Follow, forget_checkpoints
    from tune.leaderboard import leaderboard
    from tune.report import evidence_of
    from tune.screen import Screen
    from tune.searcher import PruningScheduler, StudySearch, pruner_of
    from tune.trial import Setting, run_trial

    search, output = settings.search, settings.output
    objectives = settings.objectives
    if len(objectives) == 1:
        study.pruner = pruner_of(settings.epochs, search.grace_epochs, search.reduction_factor)
    searcher = StudySearch(
        study,
        settings.space,
        objectives,
        search.trials,
        search.seed,
        settings.space.baseline(settings.base),
        _room(settings.base, max_concurrent),
        driver,
    )
    warning = evidence_of(settings, ()).warning
    screen = Screen(study, objectives, search.trials, settings.epochs, warning)
    setting = Setting(place(search.data), output, settings.base, search.second_objective)
    if driver.is_alone():
        shutil.rmtree(output / RAY, ignore_errors=True)  # of drivers that were killed
    tuner = ray.tune.Tuner(
        ray.tune.with_resources(
            ray.tune.with_parameters(run_trial, setting=setting),
            RESOURCES,
        ),
        tune_config=ray.tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,  # the searcher says when it is finished
            # With two objectives a trial that is less exact may be on the front.
            scheduler=PruningScheduler(searcher, settings.epochs)
            if len(objectives) == 1
            else None,
        ),
        run_config=ray.tune.RunConfig(
            name=driver.name,
            storage_path=str(output / RAY),
            verbose=3 if verbose else 0,
            failure_config=ray.tune.FailureConfig(max_failures=2),  # of a trial's own process
            callbacks=[Follow(settings, study, screen)],
        ),
    )
    try:
        with screen.shown():
            fit(tuner, verbose)
    except RunError as error:
        raise RunError(f"the search failed: {error}; go on with --resume") from error
    shutil.rmtree(output / RAY / driver.name, ignore_errors=True)
    if driver.is_alone():
        shutil.rmtree(output / RAY, ignore_errors=True)
    forget_checkpoints(output, leaderboard(study))


def _room(base: Config, max_concurrent: int | None) -> HasRoom:
    """Return whether trials fit the cluster at once, by the CPUs and GPUs of their workers."""
    from cephray.cluster import cluster_nodes, fits

    def has_room(trials: Sequence[Values]) -> bool:
        if max_concurrent is not None and len(trials) > max_concurrent:
            return False
        own = {
            "train.num_workers": base.train.num_workers,
            "train.cpus_per_worker": base.train.cpus_per_worker,
        }
        asked = [{**own, **values} for values in trials]
        workers = sum(int(str(trial["train.num_workers"])) for trial in asked)
        cpus = max(int(str(trial["train.cpus_per_worker"])) for trial in asked)
        return fits(cluster_nodes(), workers, cpus, base.train.gpus)

    return has_room


if __name__ == "__main__":
    sys.exit(main())
