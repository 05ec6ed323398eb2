"""The only file that wires Ray Train: films to the cluster, workers, rows back, one clear line.

The driver has the films of a plan decoded on the cluster and hands references to the workers.
Each worker runs `loop.train`; rank 0's rows come back through a queue, its checkpoints through
Ray into the output folder.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.train.tensorflow import TensorflowTrainer
from ray.util.queue import Empty, Queue

from cephray.config import Config, dump_config
from cephray.data.table import Films, decode_on_cluster
from cephray.errors import InputError, RunError
from cephray.progress import progress
from cephray.storage import Place
from cephray.train.checkpoint import (
    CONFIG,
    Checkpoint,
    Row,
    checkpoints_in,
    find_checkpoint,
)
from cephray.train.history import HistoryWriter, open_history
from cephray.train.plan import Plan, Show
from cephray.train.resources import cpus_per_worker

# Set on every worker: the backend that the op is written for, and no log but errors.
_WORKER_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "GLOG_minloglevel": "2",
}


def launch(plan: Plan, verbose: bool = False, show: Show = print) -> Checkpoint:
    """Train on a Ray cluster: the running one, or one started on this machine.

    Args:
        plan: of the run.
        verbose: let Ray's and TensorFlow's own logs through.
        show: takes each line that the run has to say.

    Returns:
        The best checkpoint.

    Raises:
        InputError: a film cannot be used, or is not the run's; nothing was written.
        RunError: the cluster cannot hold the workers, or the run failed.
    """
    config, output, last = plan.config, plan.output, plan.last
    if plan.is_finished:
        show(f"the run in {output} has all its {config.train.epochs} epochs")
        return find_checkpoint(output)
    with _cluster(verbose, show):
        cpus = cpus_per_worker(
            config.train.num_workers,
            config.train.use_gpu,
            config.train.cpus_per_worker,
            config.train.wait_for_resources_s,
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
            + (", 1 GPU each" if config.train.use_gpu else "")
        )
        output.mkdir(parents=True, exist_ok=True)
        (output / CONFIG).write_text(dump_config(config), encoding="utf-8")
        earlier = last.progress.history if last else []
        history = open_history(output, config.train.epochs, earlier, show)
        try:
            _fit(output, config, films, cpus, history)
        finally:
            history.close()
    return find_checkpoint(output)


def _decode(plan: Plan) -> Films:
    size = (plan.config.data.image_height, plan.config.data.image_width)
    training, validation = plan.training, plan.validation
    with progress("decoding films", len(training) + len(validation)) as advance:
        return Films(
            decode_on_cluster(training, size, advance),
            decode_on_cluster(validation, size, advance) if validation else None,
        )


@contextmanager
def _cluster(verbose: bool, show: Show) -> Iterator[None]:
    """Connect to Ray for the length of a run; a connection that was there is left alone."""
    if ray.is_initialized():
        yield
        return
    level = logging.INFO if verbose else logging.ERROR
    # Ray's libraries set up their loggers at import; theirs are the lines that users do not need.
    logging.getLogger("ray").setLevel(level)
    connected = ray.init(log_to_driver=verbose, logging_level=level)
    if connected.dashboard_url:
        show(f"Ray dashboard at http://{connected.dashboard_url}")
    try:
        yield
    finally:
        ray.shutdown()


def _fit(output: Place, config: Config, films: Films, cpus: int, history: HistoryWriter) -> None:
    """Run the workers to their end; pass their rows on as they come."""
    messages = Queue(actor_options={"num_cpus": 0})
    resources = {"CPU": cpus, **({"GPU": 1} if config.train.use_gpu else {})}
    trainer = TensorflowTrainer(
        _worker,
        train_loop_config={
            "config": config,
            "output": output,
            "films": films,
            "messages": messages,
            "cpus": cpus,
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=config.train.num_workers,
            use_gpu=config.train.use_gpu,
            resources_per_worker=resources,
        ),
        run_config=ray.train.RunConfig(
            name=output.name,
            **_storage(output),
            failure_config=ray.train.FailureConfig(max_failures=config.train.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(
                # The best; Ray keeps the last besides. Without validation the last is the best,
                # and the one before it is kept for the case that the last is damaged.
                num_to_keep=2 if films.validation is None else 1,
                checkpoint_score_attribute="score",
                checkpoint_score_order="min",
            ),
            worker_runtime_env={"env_vars": _WORKER_ENVIRONMENT},  # type: ignore[call-arg]
        ),
    )
    finished = threading.Event()
    failures: list[str] = []

    def listen() -> None:
        while True:
            try:
                message = messages.get(timeout=0.5)
            except Empty:
                if finished.is_set():
                    return
                continue
            if isinstance(message, str):
                failures.append(message)
            else:
                history.add(message)

    listener = threading.Thread(target=listen, name="cephray-history")
    listener.start()
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise RunError(_cause(error)) from error
    finally:
        finished.set()
        listener.join()
        messages.shutdown()
    if failures:
        raise RunError(failures[0])


def _storage(output: Place) -> dict[str, Any]:
    """Say to Ray Train where the output folder lies."""
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
    return (
        f"the run failed, worker {rank}: {reason}; the last checkpoint is intact: go on with "
        "--resume"
    )


class _RayContext:
    """Ray Train's answers to what the loop asks."""

    def __init__(self, output: Place, messages: Queue) -> None:
        context = ray.train.get_context()
        self.rank = context.get_world_rank()
        self.world_size = context.get_world_size()
        self._output = output
        self._messages = messages

    def report(self, row: Row, save: Callable[[Path], None]) -> None:
        """Report a row; rank 0 saves a checkpoint, which Ray moves into the output folder."""
        name = f"epoch-{int(row['epoch']):04d}"
        if self.rank != 0:
            ray.train.report(row, checkpoint_dir_name=name)
            return
        with tempfile.TemporaryDirectory(prefix="cephray-") as folder:
            save(Path(folder))
            ray.train.report(
                row,
                checkpoint=ray.train.Checkpoint.from_directory(folder),
                checkpoint_dir_name=name,
            )
        self._messages.put(row)

    def last_checkpoint(self) -> Checkpoint | None:
        """Open the last complete checkpoint; Ray's own last one may be cut short."""
        complete = checkpoints_in(self._output)
        return complete[-1] if complete else None


def _worker(settings: dict[str, Any]) -> None:
    """Run the loop in a worker process; a failure that has a clear line is sent, not raised."""
    import tensorflow as tf

    from cephray.train.loop import train

    tf.config.threading.set_intra_op_parallelism_threads(settings["cpus"])
    tf.config.threading.set_inter_op_parallelism_threads(max(settings["cpus"], 2))
    context = _RayContext(settings["output"], settings["messages"])
    try:
        train(settings["config"], settings["films"], context)
    except (InputError, RunError) as error:
        if context.rank == 0:
            settings["messages"].put(str(error))
