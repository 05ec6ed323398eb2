"""The benchmark of the ROI crop: its bytes, its rows; and it does not time what is wrong."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest
import tensorflow as tf

from cephray import _core
from cephray.benchmark import roi_crop as benchmark
from cephray.benchmark import roi_crop_tensorflow
from cephray.benchmark.roi_crop_cases import (
    Case,
    draw_boxes,
    floor_bytes,
    full_cases,
    quick_cases,
    touched_cells,
)
from cephray.benchmark.timing import FLOOR, IN_GRAPH, OURS, Subject, build_subjects, measure
from cephray.cli.__main__ import main
from cephray.errors import RunError

SMALL = Case(batch=2, landmarks=3, crop_size=3, depth=2)
MACHINE = {"copy_bytes_per_s": 1e9, "cpus": 1, "processor": "a processor", "gpu": "a GPU"}


def test_cases_cover_every_factor() -> None:
    quick, full = list(quick_cases()), list(full_cases())
    assert len(set(quick)) == len(quick)
    assert set(quick) <= set(full)
    for name in ("batch", "landmarks", "crop_size", "depth", "dtype"):
        assert {getattr(c, name) for c in quick} == {getattr(c, name) for c in full}


def test_floor_counts_each_cell_once() -> None:
    case = Case(batch=1, landmarks=2, crop_size=2, depth=1)
    # Cells 2 to 4 of 25 rows and 3 to 6 of 20 columns, both ends on a cell: the corners alone.
    box = np.array([2 / 24, 3 / 19, 4 / 24, 6 / 19], np.float64)
    boxes = np.broadcast_to(box, (1, 2, 1, 4)).round(6).astype(np.float64)
    assert touched_cells(case, boxes) in range(4, 17)
    moved = floor_bytes(case, boxes, "backward") - boxes.nbytes
    assert moved == (25 * 20 + 2 * 2 * 2) * 256 * 4


def test_floor_reads_what_the_loops_read() -> None:
    boxes = draw_boxes(SMALL, np.random.default_rng(0))
    cells = 0
    for level, (height, width) in enumerate(SMALL.level_sizes):
        for image in boxes[:, :, level]:
            touched = set()
            for y1, x1, y2, x2 in image:
                for i in range(3):
                    for j in range(3):
                        y = (y1 + (y2 - y1) * (i / 2)) * (height - 1.0)
                        x = (x1 + (x2 - x1) * (j / 2)) * (width - 1.0)
                        touched |= {
                            (int(f(y)), int(g(x)))
                            for f in (np.floor, np.ceil)
                            for g in (np.floor, np.ceil)
                        }
            cells += len(touched)
    assert touched_cells(SMALL, boxes) == cells


def test_measure_gives_a_row_for_each_subject() -> None:
    rows = measure({"n": 1}, "forward", {OURS: lambda: 1.0, FLOOR: lambda: 0.5}, seconds=0)
    assert [(r.subject, r.median_s, r.ratio_to_ours) for r in rows] == [
        (OURS, 1.0, 1.0),
        (FLOOR, 0.5, 0.5),
    ]


def test_a_run_leaves_table_json_and_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(benchmark, "quick_cases", lambda: [SMALL])
    monkeypatch.setattr(benchmark, "SECONDS", 0.01)
    monkeypatch.setattr(roi_crop_tensorflow, "BOX_SETS", 2)
    shown: list[str] = []
    files = tmp_path / "rows.json", tmp_path / "picture.png"
    rows = benchmark.run(False, *files, show=shown.append)
    assert {row.subject for row in rows} >= {OURS, "tensorflow", "keras.ops", FLOOR}
    content: dict[str, Any] = json.loads(files[0].read_text())
    assert content["machine"]["copy_bytes_per_s"] > 0
    assert len(content["rows"]) == len(rows)
    assert not {one["subject"] for one in content["left_out"]} - {"torchvision"}
    assert content["rows"][0]["case"]["batch"] == 2
    assert files[1].stat().st_size > 1000
    assert any("batch=2" in block for block in shown)


def test_what_is_wrong_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "quick_cases", lambda: [SMALL])
    right = roi_crop_tensorflow.CROPS[OURS]
    wrong = {OURS: lambda *arguments: right(*arguments) * 1.001}
    monkeypatch.setattr(roi_crop_tensorflow, "CROPS", wrong)
    with pytest.raises(RunError, match=r"is wrong, so it was not timed: .* off crop_and_resize"):
        benchmark.run(show=lambda block: None)


def cannot(error: BaseException) -> NoReturn:
    """Fail as a library does that cannot do a case."""
    raise error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            NotImplementedError("\"roi_align_forward_kernel\" not implemented for 'BFloat16'"),
            "\"roi_align_forward_kernel\" not implemented for 'BFloat16'",
        ),
        (RuntimeError("CUDA out of memory.\nSee the documentation."), "CUDA out of memory."),
        (MemoryError(), "MemoryError"),
        (RuntimeError("  \n"), "RuntimeError"),
    ],
    ids=["no kernel", "two lines", "no message", "blank message"],
)
@pytest.mark.parametrize("when", ["built", "run"])
def test_a_subject_that_cannot_do_a_case_is_left_out(
    when: str, error: BaseException, reason: str
) -> None:
    def rival() -> Subject:
        return cannot(error) if when == "built" else lambda: cannot(error)

    def ours() -> Subject:
        return lambda: 1.0

    subjects, reasons = build_subjects({"rival": rival, OURS: ours})
    assert list(subjects) == [OURS]
    assert reasons == {"rival": reason}
    with pytest.raises(RunError, match="cephray cannot do this case: ") as caught:
        build_subjects({OURS: rival, "rival": ours})
    assert str(caught.value).endswith(reason)


def test_an_error_in_a_subject_is_not_left_out() -> None:
    with pytest.raises(TypeError, match="of our own"):
        build_subjects({"rival": lambda: cannot(TypeError("of our own"))})


def test_a_gpu_without_bfloat16_in_torchvision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU's subjects are fakes: torchvision refuses bfloat16, as it does on a GPU."""

    def roi_align(inputs: Case, direction: str) -> Subject:
        if inputs.dtype == "bfloat16":
            raise NotImplementedError(f"no {direction} kernel for 'BFloat16'")
        return lambda: 0.002

    fake = SimpleNamespace(
        HAS_ROI_ALIGN=True,
        Inputs=lambda case, rng, device: case,
        check_cuda=lambda case, rng: None,
        cuda_subject=lambda inputs, direction, in_graph=False: lambda: 0.001,
        roi_align_subject=roi_align,
        cuda_copying=lambda inputs, byte_count, in_graph=False: lambda: 0.0005,
        peak_bytes=lambda subject: 1024,
    )
    monkeypatch.setitem(sys.modules, "cephray.benchmark.roi_crop_torch", fake)
    monkeypatch.setattr("cephray.benchmark.roi_crop_torch", fake, raising=False)
    monkeypatch.setattr(benchmark, "_has_gpu", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # no TensorFlow
    monkeypatch.setattr(benchmark, "machine_facts", lambda packages: MACHINE.copy())
    monkeypatch.setattr(benchmark, "SECONDS", 0.0)
    half = replace(SMALL, dtype="bfloat16", batch=64)
    many = replace(SMALL, batch=64)
    monkeypatch.setattr(benchmark, "quick_cases", lambda: [half, many])
    shown: list[str] = []
    file = tmp_path / "rows.json"
    rows = benchmark.run(json_path=file, show=shown.append)

    timed = [(row.case["dtype"], row.direction, row.subject) for row in rows]
    assert timed == [
        ("bfloat16", "forward", OURS),
        ("bfloat16", "forward", FLOOR),
        ("bfloat16", "backward", OURS),
        ("bfloat16", "backward", FLOOR),
        *(
            ("float32", direction, subject)
            for direction in ("forward", "backward")
            for subject in (OURS, "torchvision", FLOOR)
        ),
    ]
    content = json.loads(file.read_text())
    assert content["left_out"] == [
        {
            "case": {"device": "gpu", **asdict(half)},
            "subject": "torchvision",
            "direction": direction,
            "reason": f"no {direction} kernel for 'BFloat16'",
        }
        for direction in ("forward", "backward")
    ]
    table = [block for block in shown if "dtype=" in block]
    for block, direction in zip(table[:2], ("forward", "backward"), strict=True):
        line = block.splitlines()[-1]
        assert line.split(maxsplit=2) == [
            "torchvision",
            direction,
            f"left out: no {direction} kernel for 'BFloat16'",
        ]
    assert not any("left out" in block for block in table[2:])


@pytest.mark.parametrize("batch", [benchmark.GRAPH_BATCH, benchmark.GRAPH_BATCH + 1])
def test_few_films_are_timed_in_a_graph_too(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU's subjects are fakes, whose calls take less time in a graph."""

    def in_a_graph_or_not(inputs: Case, what: Any, in_graph: bool = False) -> Subject:
        return lambda: 0.001 if in_graph else 0.005

    fake = SimpleNamespace(
        HAS_ROI_ALIGN=False,
        Inputs=lambda case, rng, device: case,
        cuda_subject=in_a_graph_or_not,
        cuda_copying=in_a_graph_or_not,
    )
    monkeypatch.setitem(sys.modules, "cephray.benchmark.roi_crop_torch", fake)
    monkeypatch.setattr("cephray.benchmark.roi_crop_torch", fake, raising=False)
    makers = benchmark._gpu_makers(replace(SMALL, batch=batch), "forward")
    times = {name: make()() for name, make in makers.items()}
    wanted = {OURS: 0.005, FLOOR: 0.005}
    if batch == benchmark.GRAPH_BATCH:
        wanted |= {"cephray, graph": 0.001, "floor, graph": 0.001}
    assert times == wanted


@pytest.mark.gpu
@pytest.mark.parametrize("direction", benchmark.DIRECTIONS)
def test_a_captured_call_takes_less_time_than_a_single_one(direction: str) -> None:
    if not _core.build_info()["cuda_architectures"]:
        pytest.skip("cephray._core was built without CUDA (CEPHRAY_CUDA)")
    torch = pytest.importorskip("torch", reason="no PyTorch, which holds the arrays on the GPU")
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU that PyTorch can use")
    subjects, reasons = build_subjects(benchmark._gpu_makers(SMALL, direction))
    assert not {OURS + IN_GRAPH, FLOOR + IN_GRAPH} & set(reasons), reasons
    medians = {r.subject: r.median_s for r in measure({}, direction, subjects, 0.5)}
    assert medians[OURS + IN_GRAPH] < medians[OURS]
    assert medians[FLOOR + IN_GRAPH] < medians[FLOOR]


def test_keras_ops_is_left_out_where_it_needs_too_much_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(benchmark, "KERAS_LIMIT_BYTES", 2**19)
    makers = benchmark._cpu_makers(SMALL, "forward")
    makers = {name: makers[name] for name in (OURS, benchmark.KERAS)}
    subjects, reasons = build_subjects(makers)
    assert list(subjects) == [OURS]
    assert reasons == {"keras.ops": "takes more than 0.000488281 GiB of memory"}


def test_tensorflow_without_a_kernel_cannot_do_a_case() -> None:
    def crop(features: Any, boxes: Any, size: int) -> Any:
        raise tf.errors.UnimplementedError(None, None, "no such kernel")

    inputs = roi_crop_tensorflow.Inputs(SMALL, np.random.default_rng(0))
    with pytest.raises(RuntimeError, match="no such kernel"):
        roi_crop_tensorflow.subject(crop, inputs, "forward")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["roi-crop", "--json", "folder"], "folder is a folder; give the path of a file"),
        (["roi-crop", "--picture", "folder"], "folder is a folder; give the path of a file"),
        (["train-step", "--json", "folder"], "folder is a folder; give the path of a file"),
        (["roi-crop", "--json", "file/rows.json"], "file/rows.json cannot be written"),
        (["roi-crop", "--data", "films"], "takes no --data; it takes --json, --full, --picture"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_timed(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").touch()
    assert main(["benchmark", *arguments]) == 2
    assert said in capsys.readouterr().err
