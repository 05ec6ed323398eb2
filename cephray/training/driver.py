"""The driver of a run: it decodes films on the cluster, starts the workers and collects rows.

It has the films of a plan decoded on the cluster and hands references to the workers, which run
`worker.run`. Rank 0 sends its rows back through a queue, and stops on request by a second one. An
actor watches whether the workers come further.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cephray.checkpoint import CONFIG_FILE, Checkpoint, Progress, Row, find_checkpoint, last_intact
from cephray.cluster import (
    START_TIMEOUT_VARIABLE,
    DataParallelTrainer,
    StopRequest,
    address_told,
    connected,
    cpus_per_worker,
    describe_workers,
    network_environment,
    stop_signals,
)
from cephray.config import dump_config
from cephray.data import Films, View, decode_on_cluster
from cephray.errors import InputError, RunError, Stopped
from cephray.progress import Show, progress
from cephray.storage import Place, replace_text
from cephray.training import worker
from cephray.training.backend import TensorFlowWorkers
from cephray.training.history import HistoryWriter, open_history
from cephray.training.ownership import take_ownership
from cephray.training.patience import Patience
from cephray.training.plan import Plan
from cephray.training.stall import Watch
from cephray.training.supervise import supervise
from cephray.training.tracking import tracked

# Earlier versions let Ray keep the checkpoints; it refuses to start where one of its list is gone.
_RAY_CHECKPOINTS = "checkpoint_manager_snapshot.json"


def launch(
    plan: Plan,
    verbose: bool = False,
    show: Show = print,
    on_row: Callable[[Row], None] = lambda row: None,
) -> Checkpoint:
    """Train on a Ray cluster: the running one, or one started on this machine.

    Args:
        plan: of the run.
        verbose: let Ray's and TensorFlow's own logs through.
        show: takes each line that the run has to say.
        on_row: takes the row of each epoch, once the history has it.

    Returns:
        The best checkpoint.

    Raises:
        InputError: a film cannot be used, or is not the run's; nothing was written.
        RunError: the cluster cannot hold the workers, or the run failed.
        Stopped: a signal came; the message says what can be resumed.
    """
    config, output = plan.config, plan.output
    if plan.is_finished:
        show(f"the run in {output} has all its {config.train.epochs} epochs")
        return find_checkpoint(output)
    try:
        with connected(verbose, show), stop_signals() as stop:
            _run(plan, stop, show, on_row)
    except Stopped as stopped:
        raise Stopped(stopped.signal, f"{stopped}; {last_intact(output)}") from None
    return find_checkpoint(output, read_arrays=False)  # they were just written


def _run(plan: Plan, stop: StopRequest, show: Show, on_row: Callable[[Row], None]) -> None:
    """Find room, decode, train; everything that needs the cluster."""
    config, output, last = plan.config, plan.output, plan.last
    cpus = cpus_per_worker(
        config.train.num_workers,
        config.train.gpus,
        config.train.cpus_per_worker,
        config.train.wait_for_resources_s,
        config.train.min_workers,
        show=show,
    )
    films = _decode(plan)
    if last is not None and last.progress.data_fingerprint != films.fingerprint:
        raise InputError(
            f"these are not the films that the run in {output} began with; give the same "
            "--data, or another --output for a new run"
        )
    show(
        f"{len(plan.training)} films to train on, {len(plan.validation) or 'none'} to "
        f"validate on; {config.train.num_workers} × {cpus} CPU"
        + (f", {config.train.gpus:g} GPU each" if config.train.use_gpu else "")
        + (f", sums by {config.train.collectives}" if config.train.num_workers > 1 else "")
    )
    output.mkdir(parents=True, exist_ok=True)
    earlier = last.progress.history if last else []
    try:
        replace_text(output / CONFIG_FILE, dump_config(config))
        owner = take_ownership(output)
        if (output / _RAY_CHECKPOINTS).exists():
            (output / _RAY_CHECKPOINTS).unlink()
        history = open_history(output, config.train.epochs, earlier, show)
    except OSError as error:
        raise RunError(f"output {output}: {error}; {last_intact(output)}") from error
    try:
        with tracked(config, output, show) as track:

            def told(row: Row) -> None:
                track(row)
                on_row(row)

            _fit(plan, films, cpus, owner, history, stop, show, told)
    finally:
        history.close()


def _decode(plan: Plan) -> Films:
    view = View.of(plan.config.data)
    training, validation = plan.training, plan.validation
    with progress("decoding films", len(training) + len(validation)) as advance:
        return Films(
            decode_on_cluster(training, view, advance),
            decode_on_cluster(validation, view, advance) if validation else None,
        )


def _fit(
    plan: Plan,
    films: Films,
    cpus: int,
    owner: str,
    history: HistoryWriter,
    stop: StopRequest,
    show: Show,
    on_row: Callable[[Row], None],
) -> None:
    """Run the workers to their end; pass their rows on as they come."""
    config, output = plan.config, plan.output
    messages, stopping = _queue(), _queue()
    # One worker alone waits for no other.
    watch = _watch(config.train.stall_timeout_s) if config.train.num_workers > 1 else None
    resources = {"CPU": cpus, **({"GPU": config.train.gpus} if config.train.use_gpu else {})}
    most, wait_s = config.train.num_workers, config.train.wait_for_resources_s
    least = config.train.min_workers or most
    asked = describe_workers(least, cpus, config.train.gpus)
    # Ray's view of lost nodes is late: it needs several tries, of fewer workers each time.
    os.environ[START_TIMEOUT_VARIABLE] = f"{max(wait_s / 6, 5):g}"
    trainer = DataParallelTrainer(
        worker.run,
        backend_config=TensorFlowWorkers(),
        train_loop_config={
            "config": config,
            "output": output,
            "films": films,
            "owner": owner,
            "messages": messages,
            "stopping": stopping,
            "watch": watch,
            "cpus": cpus,
            # Without validation the last is the best, and the one before it is kept for the case
            # that the last is damaged.
            "num_best": 2 if films.validation is None else 1,
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=most if least == most else (least, most),  # type: ignore[arg-type]
            elastic_resize_monitor_interval_s=config.train.grow_every_s,  # type: ignore[call-arg]
            use_gpu=config.train.use_gpu,
            resources_per_worker=resources,
        ),
        run_config=ray.train.RunConfig(
            name=output.name,
            **_storage(output),
            failure_config=ray.train.FailureConfig(max_failures=config.train.max_failures),
            worker_runtime_env={"env_vars": network_environment(config.train.use_gpu)},  # type: ignore[call-arg]
            callbacks=[Patience(wait_s, asked)],  # type: ignore[list-item]
        ),
    )
    failures: list[str] = []
    paused: list[Progress] = []

    def take(message: Row | Progress | worker.Notice | str) -> None:
        if isinstance(message, str):
            failures.append(message)
        elif isinstance(message, worker.Notice):
            show(message.line)
        elif isinstance(message, Progress):
            paused.append(message)
        else:
            try:
                history.add(message)
            except OSError as error:
                failures.append(f"{history.path} could not be written: {error}")
                stopping.put(True)
            on_row(message)

    def look() -> None:
        late = ray.get(watch.held_up_by.remote()) if watch is not None else None
        if late is not None:
            show(
                f"{late} came no further for {config.train.stall_timeout_s:g} s "
                "(train.stall_timeout_s): all workers start again from the last checkpoint"
            )

    try:
        with address_told():
            supervise(trainer.fit, messages, stopping, stop, take, show, look)
    except ray.train.TrainingFailedError as error:
        raise RunError(f"{_cause(error)}; {last_intact(output)}") from error
    if failures:
        raise RunError(failures[0])
    if paused:
        raise stop.stopped(f"after {paused[0]}")


def _queue() -> Queue:
    return Queue(actor_options=_here())


def _watch(limit_s: float) -> Any:
    return ray.remote(Watch).options(**_here()).remote(limit_s)


def _here() -> dict[str, Any]:
    """Return options of an actor on the driver's node, so that no other node's loss ends it."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return {"num_cpus": 0, "scheduling_strategy": here}


def _storage(output: Place) -> dict[str, Any]:
    """Return Ray Train's settings for the output folder."""
    if isinstance(output, Path):
        return {"storage_path": str(output.parent)}
    system, path = output.parent.in_store
    return {"storage_path": path, "storage_filesystem": system}


def _cause(error: ray.train.TrainingFailedError) -> str:
    """Boil a failed run down to one line."""
    failures = getattr(error, "worker_failures", None) or {}
    reasons = {
        rank: (str(failure).strip().splitlines() or [type(failure).__name__])[-1]
        for rank, failure in failures.items()
    }
    if not reasons:
        return f"the run failed: {str(error).strip().splitlines()[-1]}"
    rank, reason = min(reasons.items())
    return f"the run failed, worker {rank}: {reason}"
