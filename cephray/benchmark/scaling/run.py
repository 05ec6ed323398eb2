"""`cephray benchmark scaling`: a training step on many workers, and how well it is predicted.

Workers of this machine take the step of a network through links of a given latency and rate: they
sleep in place of computing, and exchange in truth. A model (model.py) is fitted to groups of 2, 4
and 8 workers, and checked on groups of 3, 6 and 12. Then the model tells what clusters of GPUs
would do, with assumed links: these figures are simulated, and say so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from cephray.benchmark.scaling.group import GroupTimes, measure_group
from cephray.benchmark.scaling.model import (
    GpuCluster,
    Link,
    Ring,
    StepProfile,
    TimeOfSum,
    fit_overlap,
    fit_ring,
    predict_step,
)
from cephray.benchmark.timing import OURS, machine_facts
from cephray.benchmark.train_step import in_own_process
from cephray.benchmark.train_step_cases import PRESETS, Case, preset_case
from cephray.benchmark.train_step_process import has_gpu, run_subject
from cephray.config import Config, load_config
from cephray.progress import import_tensorflow

Show = Callable[[str], None]

PACKAGES = ("cephray", "tensorflow", "keras", "numpy")
FITTED, CHECKED = (2, 4, 8), (3, 6, 12)
CHECKED_PRESET = "best"
SIZES = (1 << 10, 1 << 16, 1 << 20, 1 << 25)  # bytes of the messages that the ring is fitted to
# Slow enough that the processors of a small machine are not what is waited for.
EMULATED = Link(latency_s=2e-3, bytes_per_s=12.5e6)
LARGEST_ERROR = 0.15

# Assumed, not measured: 8 H100 with NVLink 4 (450 GB/s each way, of which NCCL's sums reach four
# fifths), and between nodes a 400 Gbit/s InfiniBand card for each GPU, or 100 Gbit/s Ethernet for
# all.
_INSIDE = Link(3e-6, 360e9)
CLUSTERS = {
    "8 × 400 Gbit/s a node": GpuCluster(8, _INSIDE, Link(10e-6, 400e9), 20e-6),
    "100 Gbit/s a node": GpuCluster(8, _INSIDE, Link(30e-6, 12.5e9), 20e-6),
}
GPUS = (1, 8, 64, 256)
SETTINGS = {
    "as it is": (),
    "model.sync_batch_norm=false": ("model.sync_batch_norm=false",),
    "train.exchange_dtype=bfloat16": ("train.exchange_dtype=bfloat16",),
    "both": ("model.sync_batch_norm=false", "train.exchange_dtype=bfloat16"),
}


@dataclass(frozen=True)
class Fit:
    """What was fitted to groups of workers.

    Args:
        ring: time of a sum.
        overlap: share of the exchange that goes on during the backward pass, where it can.
        overlap_beside_statistics: the same where statistics are summed too. They use the same
            links, and wait behind the bytes of buckets.
    """

    ring: Ring
    overlap: float
    overlap_beside_statistics: float

    def overlap_of(self, profile: StepProfile) -> float:
        """Return the overlap in a step."""
        return self.overlap_beside_statistics if profile.statistics else self.overlap


@dataclass(frozen=True)
class StepRow:
    """A step that was measured and predicted.

    `use` is "fitted" or "checked", `error` the prediction's, as a fraction of the median.
    """

    settings: str
    workers: int
    use: str
    median_s: float
    least_s: float
    most_s: float
    predicted_s: float
    error: float


@dataclass(frozen=True)
class SimulatedRow:
    """A step that was predicted for GPUs.

    `efficiency` is the time of a step on one GPU, divided by that on all of them.
    """

    preset: str
    network: str
    gpus: int
    settings: str
    computation_ms: float
    statistics_ms: float
    gradients_ms: float
    efficiency: float


def run(
    steps_ms: Mapping[str, float] | None = None,
    json_path: Path | None = None,
    picture: Path | None = None,
    show: Show = print,
) -> tuple[list[StepRow], list[SimulatedRow]]:
    """Measure, fit, check and simulate; show tables, write the files that are asked for.

    Args:
        steps_ms: milliseconds of a step of one GPU, by preset. If None, they are measured on this
            machine's GPU; without one nothing is simulated.
        json_path: file to write, or None.
        picture: PNG file to draw, or None.
        show: takes the tables a block at a time.

    Raises:
        RunError: a group of workers did not end, or a sum is wrong.
    """
    machine = machine_facts(PACKAGES)
    profiles = _profiles_to_check(show)
    groups = []
    for workers in sorted((*FITTED, *CHECKED)):
        show(f"{workers} workers")
        groups.append(measure_group(workers, EMULATED, SIZES, list(profiles.values())))
    fit, rows = fit_and_check(profiles, groups)
    show(_format_fit(fit, groups))
    show(_format_steps(rows))
    simulated = _simulate_all(steps_ms, fit, show)
    if simulated:
        show(_format_simulated(simulated))
        show(advice(simulated))
    if json_path is not None:
        content = {
            "machine": machine,
            "emulated_link": asdict(EMULATED),
            "fit": asdict(fit),
            "groups": [asdict(group) for group in groups],
            "steps": [asdict(row) for row in rows],
            "assumed_clusters": {name: asdict(one) for name, one in CLUSTERS.items()},
            "simulated": [asdict(row) for row in simulated],
        }
        json_path.write_text(json.dumps(content, indent=1), encoding="utf-8")
        show(f"rows in {json_path}")
    if picture is not None:
        from cephray.benchmark.scaling.picture import draw

        draw(rows, simulated, machine, picture)
        show(f"picture in {picture}")
    return rows, simulated


def fit_and_check(
    profiles: Mapping[str, StepProfile], groups: Sequence[GroupTimes]
) -> tuple[Fit, list[StepRow]]:
    """Fit the model to the groups of `FITTED` workers, and predict the steps of all groups.

    Args:
        profiles: of the steps that each group took, in their order.
        groups: that were measured.

    Returns:
        What was fitted, and a row for each step.
    """
    fitted = [group for group in groups if group.workers in FITTED]
    ring = fit_ring(
        [
            (size, group.workers, float(np.median(times)))
            for group in fitted
            for size, times in zip(SIZES, group.messages_s, strict=True)
        ]
    )

    def of(workers: int) -> TimeOfSum:
        return lambda byte_count: ring.time(byte_count, workers)

    def overlap_where(beside_statistics: bool) -> float:
        return fit_overlap(
            [
                (profile, of(group.workers), float(np.median(times)))
                for group in fitted
                for profile, times in zip(profiles.values(), group.steps_s, strict=True)
                if bool(profile.statistics) == beside_statistics
            ]
        )

    fit = Fit(ring, overlap_where(False), overlap_where(True))
    rows = []
    for number, (name, profile) in enumerate(profiles.items()):
        for group in sorted(groups, key=lambda one: one.workers):
            times_s = group.steps_s[number]
            median = float(np.median(times_s))
            predicted = predict_step(profile, of(group.workers), fit.overlap_of(profile)).total_s
            rows.append(
                StepRow(
                    settings=name,
                    workers=group.workers,
                    use="fitted" if group.workers in FITTED else "checked",
                    median_s=median,
                    least_s=min(times_s),
                    most_s=max(times_s),
                    predicted_s=predicted,
                    error=predicted / median - 1,
                )
            )
    return fit, rows


def largest_error(rows: Sequence[StepRow]) -> float:
    """Return the largest error, without its sign, of the steps that nothing was fitted to."""
    return max(abs(row.error) for row in rows if row.use == "checked")


def simulate(preset: str, profiles: Mapping[str, StepProfile], fit: Fit) -> list[SimulatedRow]:
    """Predict a step on clusters of GPUs.

    Args:
        preset: whose step it is.
        profiles: of one GPU's step, by settings.
        fit: what overlaps.
    """
    rows = []
    for network, cluster in CLUSTERS.items():
        for gpus in GPUS:
            for settings, profile in profiles.items():
                time = predict_step(
                    profile, partial(cluster.time, workers=gpus), fit.overlap_of(profile)
                )
                rows.append(
                    SimulatedRow(
                        preset=preset,
                        network=network,
                        gpus=gpus,
                        settings=settings,
                        computation_ms=1e3 * time.computation_s,
                        statistics_ms=1e3 * time.statistics_s,
                        gradients_ms=1e3 * time.gradients_s,
                        efficiency=time.computation_s / time.total_s,
                    )
                )
    return rows


def advice(rows: Sequence[SimulatedRow]) -> str:
    """Say which setting gains most, for each preset, network and number of GPUs."""
    as_it_is, *settings = list(SETTINGS)[:-1]
    lines = ["what to change first (simulated)"]
    found = {(row.preset, row.network, row.gpus, row.settings): row.efficiency for row in rows}
    for preset, network, gpus in dict.fromkeys((r.preset, r.network, r.gpus) for r in rows):
        if gpus == 1:
            continue
        before = found[preset, network, gpus, as_it_is]
        gains = {name: found[preset, network, gpus, name] / before for name in settings}
        best = max(gains, key=lambda name: gains[name])
        text = f"{best}: {gains[best]:.2f} × as fast" if gains[best] >= 1.05 else "nothing"
        lines.append(f"  {preset:<6} {gpus:>4} GPUs, {network}: {text}")
    return "\n".join(lines)


def _profiles_to_check(show: Show) -> dict[str, StepProfile]:
    """Measure a step of one film on this machine's CPU; profile it with and without statistics."""
    show(f"a step of {CHECKED_PRESET} with one film")
    config = load_config(CHECKED_PRESET)
    size = (config.data.image_height, config.data.image_width)
    case = Case(config.model.backbone, *size, preset=CHECKED_PRESET)
    step_s = float(np.median(in_own_process(run_subject, OURS, case).step.times_s))
    config = load_config(CHECKED_PRESET, ["train.global_batch_size=1"])
    profile = in_own_process(_profile, config, step_s)
    return {
        "model.sync_batch_norm=true": profile,
        "model.sync_batch_norm=false": replace(profile, statistics=()),
    }


def _simulate_all(
    steps_ms: Mapping[str, float] | None, fit: Fit, show: Show
) -> list[SimulatedRow]:
    if steps_ms is None:
        if not in_own_process(has_gpu):
            show("no GPU here: --step-ms gives a step's time, and clusters of GPUs are simulated")
            return []
        steps_ms = {name: 1e3 * float(np.median(_step_on_gpu(name))) for name in PRESETS}
    rows = []
    for preset, step_ms in steps_ms.items():
        show(f"{preset}: {step_ms:.1f} ms a step on one GPU")
        profiles = {
            name: in_own_process(_profile, load_config(preset, [*overrides]), step_ms / 1e3)
            for name, overrides in SETTINGS.items()
        }
        rows += simulate(preset, profiles, fit)
    return rows


def _step_on_gpu(preset: str) -> list[float]:
    measured = in_own_process(run_subject, OURS, preset_case(preset, 8))
    assert measured.queued is not None  # it is, on a GPU
    return measured.queued.times_s


def _profile(config: Config, step_s: float) -> StepProfile:
    import_tensorflow()
    from cephray.benchmark.scaling.profile import profile_step

    return profile_step(config, step_s)


def _format_fit(fit: Fit, groups: Sequence[GroupTimes]) -> str:
    ring = fit.ring
    lines = [
        f"links of {1e3 * EMULATED.latency_s:g} ms and {EMULATED.bytes_per_s / 1e6:g} MB/s",
        f"fitted: a sum takes {1e3 * ring.start_s:.2f} ms, {1e3 * ring.turn_s:.2f} ms a turn and "
        f"{1e9 * ring.byte_s:.1f} ns a byte and turn",
        f"of what can travel during the backward pass, {100 * fit.overlap:.0f} % does; where "
        f"statistics travel too, {100 * fit.overlap_beside_statistics:.0f} %",
        f"{'workers':>8} {'KiB':>8} {'median':>10} {'predicted':>10}",
    ]
    for group in groups:
        for size, times in zip(SIZES, group.messages_s, strict=True):
            predicted_s = ring.time(size, group.workers).total_s
            lines.append(
                f"{group.workers:>8} {size // 1024:>8} {1e3 * float(np.median(times)):8.1f}ms "
                f"{1e3 * predicted_s:8.1f}ms"
            )
    return "\n".join(lines)


def _format_steps(rows: Sequence[StepRow]) -> str:
    lines = []
    for settings in dict.fromkeys(row.settings for row in rows):
        lines += [
            f"a step of {CHECKED_PRESET}, {settings}",
            f"{'workers':>8} {'median':>9} {'least':>8} {'most':>8} {'predicted':>10} "
            f"{'error':>7}",
        ]
        lines += [
            f"{row.workers:>8} {row.median_s:8.2f}s {row.least_s:7.2f}s {row.most_s:7.2f}s "
            f"{row.predicted_s:9.2f}s {100 * row.error:+6.1f}% {row.use}"
            for row in rows
            if row.settings == settings
        ]
    worst = largest_error(rows)
    verdict = "at most" if worst <= LARGEST_ERROR else "more than"
    lines.append(
        f"largest error where nothing was fitted: {100 * worst:.1f} %, {verdict} "
        f"{100 * LARGEST_ERROR:.0f} %"
    )
    return "\n".join(lines)


def _format_simulated(rows: Sequence[SimulatedRow]) -> str:
    lines = ["simulated, with assumed links: milliseconds of a step, and efficiency"]
    for preset, network in dict.fromkeys((row.preset, row.network) for row in rows):
        lines += [
            f"{preset}, {network}",
            f"{'GPUs':>5}  {'settings':<30} {'computes':>9} {'statistics':>11} {'gradients':>10} "
            f"{'efficiency':>11}",
        ]
        lines += [
            f"{row.gpus:>5}  {row.settings:<30} {row.computation_ms:9.1f} "
            f"{row.statistics_ms:11.1f} {row.gradients_ms:10.1f} {100 * row.efficiency:10.0f}%"
            for row in rows
            if (row.preset, row.network) == (preset, network)
        ]
    return "\n".join(lines)
