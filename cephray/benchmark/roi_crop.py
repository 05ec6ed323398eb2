"""`cephray benchmark roi-crop`: the crop against its alternatives and against a memory copy.

Correctness comes first: nothing is timed that is wrong. Then each case is timed forward (crops)
and backward (gradient of the features). `floor` copies as many bytes as the case must move at
least. TensorFlow's subjects need TensorFlow, torchvision's roi_align needs PyTorch, and each is
left out where that is missing: a GPU machine without TensorFlow measures the CUDA kernels. With
few films, most of a single call on a GPU is its launch; the rows `cephray, graph` and
`floor, graph` give the time of a call within a captured CUDA graph. A subject that cannot do a
case, such as a library without bfloat16, is left out of that case, and the table and the JSON
file name it with the reason.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from cephray import _core
from cephray.benchmark.roi_crop_cases import Case, draw_boxes, floor_bytes, full_cases, quick_cases
from cephray.benchmark.timing import (
    FLOOR,
    IN_GRAPH,
    OURS,
    LeftOut,
    Row,
    Subject,
    build_subjects,
    copying,
    cpu_count,
    format_rows,
    machine_facts,
    measure,
    write_json,
)
from cephray.errors import RunError

Maker = Callable[[], Subject]

DIRECTIONS = ("forward", "backward")
PACKAGES = ("cephray", "tensorflow", "keras", "numpy", "torch", "torchvision")
SECONDS = 4.0  # of one case in one direction
KERAS, TORCHVISION = "keras.ops", "torchvision"
GRAPH_BATCH = 8  # largest number of films that is timed in a CUDA graph, too
# keras.ops gathers four cells for each value and scatters them again.
KERAS_LIMIT_BYTES = 1 << 30


def run(
    full: bool = False,
    json_path: Path | None = None,
    picture_path: Path | None = None,
    show: Callable[[str], None] = print,
) -> list[Row]:
    """Check, time, show a table; write the JSON file and the picture where they are asked for.

    Args:
        full: every combination, instead of one factor at a time around the default case.
        json_path: file to write, or None.
        picture_path: PNG file to write, or None; needs Matplotlib.
        show: takes the table a block at a time.

    Raises:
        RunError: a result is wrong, ours cannot do a case, or nothing could be timed.
    """
    cases = list(full_cases() if full else quick_cases())
    machine = machine_facts(PACKAGES)
    machine["build"] = dict(_core.build_info())
    show(f"copies {machine['copy_bytes_per_s'] / 1e9:.1f} GB/s on {machine['cpus']} processors")
    rows: list[Row] = []
    left_out: list[LeftOut] = []
    try:
        for block, missing in _blocks(cases):
            rows += block
            left_out += missing
            show(format_rows(block, missing))
    except AssertionError as error:
        raise RunError(f"the ROI crop is wrong, so it was not timed: {error}") from error
    if not rows:
        raise RunError(
            "nothing to time: neither TensorFlow nor a GPU with PyTorch and CUDA kernels is here"
        )
    if json_path is not None:
        write_json(json_path, machine, rows, left_out)
        show(f"rows in {json_path}")
    if picture_path is not None:
        from cephray.benchmark.roi_crop_picture import draw

        draw(rows, machine, picture_path)
        show(f"picture in {picture_path}")
    return rows


def _blocks(cases: Iterable[Case]) -> Iterator[tuple[list[Row], list[LeftOut]]]:
    on_cpu = importlib.util.find_spec("tensorflow") is not None
    on_gpu = _has_gpu()
    for device, is_here, check, makers, peak_bytes in (
        ("cpu", on_cpu, _check_cpu, _cpu_makers, lambda subject: None),
        ("gpu", on_gpu, _check_gpu, _gpu_makers, _gpu_peak_bytes),
    ):
        if not is_here:
            continue
        for case in cases:
            check(case)
            facts = {"device": device, **asdict(case)}
            for direction in DIRECTIONS:
                subjects, reasons = build_subjects(makers(case, direction))
                yield (
                    measure(facts, direction, subjects, SECONDS, peak_bytes),
                    [LeftOut(facts, name, direction, why) for name, why in reasons.items()],
                )


def _has_gpu() -> bool:
    if not _core.build_info()["cuda_architectures"] or not importlib.util.find_spec("torch"):
        return False
    import torch

    return bool(torch.cuda.is_available())


def _check_cpu(case: Case) -> None:
    from cephray.benchmark import roi_crop_tensorflow as subjects

    with subjects.on_cpu():
        subjects.check(replace(case, batch=1), np.random.default_rng(1))
        subjects.check_batch(subjects.Inputs(case, np.random.default_rng(2)))


def _cpu_makers(case: Case, direction: str) -> dict[str, Maker]:
    from cephray.benchmark import roi_crop_tensorflow as tensorflow

    with tensorflow.on_cpu():
        inputs = tensorflow.Inputs(case, np.random.default_rng(0))

    def in_tensorflow(name: str) -> Subject:
        if name == KERAS and case.features_bytes + 8 * case.crops_bytes >= KERAS_LIMIT_BYTES:
            raise MemoryError(f"takes more than {KERAS_LIMIT_BYTES / 2**30:g} GiB of memory")
        with tensorflow.on_cpu():
            return tensorflow.subject(tensorflow.CROPS[name], inputs, direction)

    def roi_align() -> Subject:
        from cephray.benchmark import roi_crop_torch as torch

        torch_inputs = torch.Inputs(case, np.random.default_rng(0), "cpu")
        return torch.roi_align_subject(torch_inputs, direction)

    def floor() -> Subject:
        byte_count = _floor_bytes(case, direction)
        repeats = int(np.clip(2e9 / byte_count, 1, 1000))  # as long as the others' turns
        # The crop reads here and there in the features, and its gradient writes them all.
        source, target = (1, 0) if direction == "forward" else (0, 1)
        return copying(
            byte_count,
            cpu_count(),
            repeats,
            source * case.features_bytes,
            target * case.features_bytes,
        )

    makers: dict[str, Maker] = {name: partial(in_tensorflow, name) for name in tensorflow.CROPS}
    if importlib.util.find_spec("torchvision") is not None:
        makers[TORCHVISION] = roi_align
    return {**makers, FLOOR: floor}


def _check_gpu(case: Case) -> None:
    from cephray.benchmark import roi_crop_torch as torch

    torch.check_cuda(replace(case, batch=1), np.random.default_rng(1))


def _gpu_makers(case: Case, direction: str) -> dict[str, Maker]:
    from cephray.benchmark import roi_crop_torch as torch

    inputs = torch.Inputs(case, np.random.default_rng(0), "cuda")
    makers: dict[str, Maker] = {OURS: lambda: torch.cuda_subject(inputs, direction)}
    if torch.HAS_ROI_ALIGN:
        makers[TORCHVISION] = lambda: torch.roi_align_subject(inputs, direction)
    byte_count = _floor_bytes(case, direction)
    makers[FLOOR] = lambda: torch.cuda_copying(inputs, byte_count)
    if case.batch <= GRAPH_BATCH:
        makers[OURS + IN_GRAPH] = lambda: torch.cuda_subject(inputs, direction, in_graph=True)
        makers[FLOOR + IN_GRAPH] = lambda: torch.cuda_copying(inputs, byte_count, in_graph=True)
    return makers


def _gpu_peak_bytes(subject: Subject) -> int | None:
    from cephray.benchmark.roi_crop_torch import peak_bytes

    return peak_bytes(subject)


def _floor_bytes(case: Case, direction: str) -> int:
    return floor_bytes(case, draw_boxes(case, np.random.default_rng(0)), direction)
