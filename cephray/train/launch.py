"""The only file that wires Ray Train: films to the cluster, workers, rows back, one clear line.

The driver has the films of a plan decoded on the cluster and hands references to the workers.
Each worker runs `loop.train`; rank 0's rows come back through a queue, its checkpoints through
Ray into the output folder. A second queue tells the workers to stop.
"""

from __future__ import annotations

import logging
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.train.tensorflow import TensorflowTrainer
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cephray.config import dump_config
from cephray.data.table import Films, decode_on_cluster
from cephray.errors import InputError, RunError, Stopped
from cephray.files import replace_text
from cephray.progress import progress
from cephray.train.checkpoint import (
    CONFIG,
    Checkpoint,
    Progress,
    Row,
    checkpoints_in,
    find_checkpoint,
    last_intact,
)
from cephray.train.history import HistoryWriter
from cephray.train.ownership import require_ownership, take_ownership
from cephray.train.plan import Plan, Show
from cephray.train.resources import cpus_per_worker
from cephray.train.signals import StopRequest, stop_signals
from cephray.train.snapshot import forget_damaged_snapshot
from cephray.train.supervise import POLL_S, supervise

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
        Stopped: a signal came; says what to go on from.
    """
    config, output, last = plan.config, plan.output, plan.last
    if plan.is_finished:
        show(f"the run in {output} has all its {config.train.epochs} epochs")
        return find_checkpoint(output)
    with _cluster(verbose), stop_signals() as stop:
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
        earlier = last.progress.history if last else []
        try:
            replace_text(output / CONFIG, dump_config(config))
            owner = take_ownership(output)
            forget_damaged_snapshot(output)
            history = HistoryWriter(output, config.train.epochs, earlier, show)
        except OSError as error:
            raise RunError(f"output {output}: {error}; {last_intact(output)}") from error
        try:
            _fit(plan, films, cpus, owner, history, stop, show)
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
def _cluster(verbose: bool) -> Iterator[None]:
    """Connect to Ray for the length of a run; a connection that was there is left alone."""
    if ray.is_initialized():
        yield
        return
    level = logging.INFO if verbose else logging.ERROR
    # Ray's libraries set up their loggers at import; theirs are the lines that users do not need.
    logging.getLogger("ray").setLevel(level)
    try:
        ray.init(log_to_driver=verbose, logging_level=level)
    except SystemExit:  # what Ray makes of SIGTERM until our handler is there
        raise Stopped(
            signal.SIGTERM, "stopped by SIGTERM before anything was saved: start again"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _fit(
    plan: Plan,
    films: Films,
    cpus: int,
    owner: str,
    history: HistoryWriter,
    stop: StopRequest,
    show: Show,
) -> None:
    """Run the workers to their end; pass their rows on as they come."""
    config, output = plan.config, plan.output
    messages, stopping = _queue(), _queue()
    resources = {"CPU": cpus, **({"GPU": 1} if config.train.use_gpu else {})}
    trainer = TensorflowTrainer(
        _worker,
        train_loop_config={
            "config": config,
            "output": output,
            "films": films,
            "owner": owner,
            "messages": messages,
            "stopping": stopping,
            "cpus": cpus,
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=config.train.num_workers,
            use_gpu=config.train.use_gpu,
            resources_per_worker=resources,
        ),
        run_config=ray.train.RunConfig(
            name=output.name,
            storage_path=str(output.parent),
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
    failures: list[str] = []
    paused: list[Progress] = []

    def take(message: Row | Progress | str) -> None:
        if isinstance(message, str):
            failures.append(message)
        elif isinstance(message, Progress):
            paused.append(message)
        else:
            try:
                history.add(message)
            except OSError as error:
                failures.append(f"{history.path} could not be written: {error}")
                stopping.put(True)

    try:
        supervise(trainer.fit, messages, stopping, stop, take, show)
    except ray.train.TrainingFailedError as error:
        raise RunError(f"{_cause(error)}; {last_intact(output)}") from error
    except Stopped as stopped:
        raise Stopped(stopped.signal, f"{stopped}; {last_intact(output)}") from None
    if failures:
        raise RunError(failures[0])
    if paused:
        raise stop.stopped(f"after {paused[0]}; {last_intact(output)}")


def _queue() -> Queue:
    """Make a queue that lives on the driver's node, so that no other node's loss ends it."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})


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


class _RayContext:
    """Ray Train's answers to what the loop asks."""

    def __init__(self, output: Path, owner: str, messages: Queue, stopping: Queue) -> None:
        context = ray.train.get_context()
        self.rank = context.get_world_rank()
        self.world_size = context.get_world_size()
        self._output = output
        self._owner = owner
        self._messages = messages
        self._stopping = stopping
        self._stop = threading.Event()
        if self.rank == 0:
            threading.Thread(target=self._watch, name="cephray-stop", daemon=True).start()

    def _watch(self) -> None:
        while self._stopping.empty():
            time.sleep(POLL_S)
        self._stop.set()

    def should_stop(self) -> bool:
        """Tell whether the driver asked this worker to stop; it asks the first one only."""
        return self._stop.is_set()

    def report(self, row: Row, save: Callable[[Path], None]) -> None:
        """Report a row; rank 0 saves a checkpoint, which Ray moves into the output folder."""
        if self.rank == 0:
            self._messages.put(row)
        self._report(f"epoch-{int(row['epoch']):04d}", row, save)

    def pause(self, progress: Progress, save: Callable[[Path], None]) -> None:
        """Save within an epoch, likewise; without a score, so that it is never the best."""
        self._report(
            f"epoch-{progress.epoch + 1:04d}-step-{progress.step:05d}",
            {"epoch": progress.epoch, "step": progress.step},
            save,
        )
        if self.rank == 0:
            self._messages.put(progress)

    def _report(self, name: str, row: Row, save: Callable[[Path], None]) -> None:
        if self.rank != 0:
            ray.train.report(row, checkpoint_dir_name=name)
            return
        checkpoint, failure = None, None
        with ExitStack() as stack:
            try:
                require_ownership(self._output, self._owner)
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cephray-"))
                save(Path(folder))
                checkpoint = ray.train.Checkpoint.from_directory(folder)
            except (OSError, RunError) as error:
                failure = error
            try:
                # Without a checkpoint too: the other workers wait for this report.
                ray.train.report(row, checkpoint=checkpoint, checkpoint_dir_name=name)
            except OSError as error:
                failure = error
                shutil.rmtree(self._output / name, ignore_errors=True)
        if isinstance(failure, OSError):
            raise RunError(
                f"checkpoint {self._output / name} could not be written: {failure}; make room; "
                f"{last_intact(self._output)}"
            ) from failure
        if failure is not None:
            raise failure

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
    context = _RayContext(
        settings["output"], settings["owner"], settings["messages"], settings["stopping"]
    )
    try:
        train(settings["config"], settings["films"], context)
    except (InputError, RunError) as error:
        if context.rank == 0:
            settings["messages"].put(str(error))
