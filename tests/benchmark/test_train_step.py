"""The training step's subjects, all of which train the same network, and the report on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from cephray.benchmark import train_step as benchmark
from cephray.benchmark.card import CardBusy
from cephray.benchmark.timing import OURS, Row
from cephray.benchmark.train_step_cases import (
    BACKBONE,
    BOUND,
    HEAD_BY_HEAD,
    PYTORCH,
    UPDATE,
    Case,
    preset_case,
)
from cephray.benchmark.train_step_process import Measured, Timed
from cephray.benchmark.train_step_subjects import SUBJECTS, build_step, prepare
from cephray.config import Config
from cephray.errors import RunError
from cephray.training.batch_norm import FusedBatchNormalization

MakeConfig = Callable[..., Config]


@pytest.mark.usefixtures("tiny_backbones")
def test_all_subjects_step_and_train_as_many_parameters(small_config: MakeConfig) -> None:
    config = small_config("train.global_batch_size=1", "model.fusion_depth=1")
    counts = {}
    for name in SUBJECTS:
        built = build_step(name, config, show=print)
        counts[name] = built.parameters
        assert np.isfinite(built.launch().numpy()).all(), name
        assert not built.uses_xla()  # "auto", and no GPU
    assert counts[OURS] == counts[UPDATE] == counts[HEAD_BY_HEAD] > counts[BACKBONE]


@pytest.mark.parametrize(("name", "compiles"), [(BACKBONE, True), (UPDATE, False)])
def test_xla_compiles_what_the_configuration_says(
    name: str, compiles: bool, small_config: MakeConfig
) -> None:
    """The update is an operation of cephray's, which XLA does not have."""
    config = small_config("train.global_batch_size=2", "train.jit=on")
    built = build_step(name, config, show=print)
    assert np.isfinite(built.launch().numpy()).all()
    assert built.uses_xla() is compiles


def test_networks_have_the_precision_and_the_layers_of_training(small_config: MakeConfig) -> None:
    def build() -> keras.Model:
        image = keras.Input((8, 8, 3))
        return keras.Model(image, keras.layers.BatchNormalization(name="normalisation")(image))

    config = small_config("train.precision=mixed_bfloat16")
    model, _ = prepare(build, config, show=print)
    layer = model.get_layer("normalisation")
    assert isinstance(layer, FusedBatchNormalization)
    assert layer.compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"


def measured(seconds: float, queued_s: float | None = None, **more: Any) -> Measured:
    queued = None if queued_s is None else Timed([queued_s], 20.0, 30.0)
    return Measured(Timed([seconds], 0.0, 10.0), queued, 2**20, 5, 9.0, **more)


def measure(
    case: Case, results: dict[str, Measured | Exception], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Row], list[Any], list[str]]:
    """Measure a case whose subjects give these results or raise these errors."""

    def run(name: str, case: Case) -> Measured:
        result = results[name]
        if isinstance(result, Exception):
            raise result
        return result

    shown: list[str] = []
    monkeypatch.setattr(benchmark, "_run", run)
    monkeypatch.setattr("cephray.benchmark.card.busy_percent", lambda: None)
    return *benchmark._measure(case, shown.append), shown


def test_on_a_cpu_there_is_a_row_for_each_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    results = {OURS: measured(2.0), BACKBONE: measured(1.0), UPDATE: measured(0.5)}
    rows, left_out, _ = measure(Case(), {**results, HEAD_BY_HEAD: measured(40.0)}, monkeypatch)
    assert [(row.subject, row.direction, row.ratio_to_ours) for row in rows] == [
        (OURS, "step", 1.0),
        (BACKBONE, "step", 0.5),
        (UPDATE, "step", 0.25),
        (HEAD_BY_HEAD, "step", 20.0),
    ]
    assert not left_out
    assert rows[0].case == {**asdict(Case()), "parameters": 5}
    assert rows[0].more == {"films_per_s": 0.5, "first_step_s": 9.0}


def test_on_a_gpu_single_and_queued_steps_have_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    case = preset_case("paper", 8)
    results: dict[str, Measured | Exception] = {
        OURS: measured(0.4, 0.2, facts={"xla": True}, lines=("compiled in 9 s",)),
        BACKBONE: measured(0.3, 0.1),
        UPDATE: RuntimeError("no such kernel"),
        PYTORCH: measured(0.2, 0.1),
        BOUND: measured(0.05, 0.05),
    }
    rows, left_out, shown = measure(case, results, monkeypatch)
    assert [(r.direction, r.subject, round(r.ratio_to_ours, 3)) for r in rows] == [
        ("step", OURS, 1.0),
        ("step", BACKBONE, 0.75),
        ("step", PYTORCH, 0.5),
        ("step", BOUND, 0.125),
        ("queued", OURS, 1.0),
        ("queued", BACKBONE, 0.5),
        ("queued", PYTORCH, 0.5),
        ("queued", BOUND, 0.25),
    ]
    assert rows[0].more == {
        "films_per_s": 20.0,
        "busy_percent": None,
        "first_step_s": 9.0,
        "xla": True,
    }
    assert [(one.subject, one.reason) for one in left_out] == [(UPDATE, "no such kernel")]
    assert shown == [f"{OURS}: compiled in 9 s"]


def test_each_row_has_the_card_of_its_own_time() -> None:
    values = iter([None])
    with CardBusy(lambda: next(values)) as card:
        pass
    card._samples = [(5.0, 80.0), (25.0, 90.0), (50.0, 1.0)]
    rows = benchmark._rows(preset_case("paper", 8), {OURS: measured(0.4, 0.2)}, card)
    assert [row.more["busy_percent"] for row in rows] == [80.0, 90.0]


@pytest.mark.parametrize("error", [BrokenProcessPool(), MemoryError("of its own")])
def test_a_subject_without_memory_is_left_out(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    results: dict[str, Measured | Exception] = dict.fromkeys(SUBJECTS, measured(1.0))
    rows, left_out, _ = measure(Case(), {**results, HEAD_BY_HEAD: error}, monkeypatch)
    assert [row.subject for row in rows] == [OURS, BACKBONE, UPDATE]
    assert [(one.subject, one.reason) for one in left_out] == [(HEAD_BY_HEAD, "out of memory")]


def test_a_run_names_in_table_and_json_what_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The subjects are fakes, and the card too; PyTorch has no place in a case of `best`."""
    monkeypatch.setattr(benchmark, "in_own_process", lambda *_: True)
    monkeypatch.setattr(benchmark, "machine_facts", lambda packages: {"gpu": "a GPU"})
    monkeypatch.setattr(benchmark, "_run", lambda name, case: measured(0.4, 0.2))
    monkeypatch.setattr("cephray.benchmark.card.busy_percent", lambda: None)
    shown: list[str] = []
    file = tmp_path / "rows.json"
    rows = benchmark.run(json_path=file, show=shown.append)
    content = json.loads(file.read_text())
    assert len(content["rows"]) == len(rows) == 2 * (5 + 4)
    assert [(one["subject"], one["case"]["preset"]) for one in content["left_out"]] == [
        (PYTORCH, "best")
    ]
    assert "left out: it is a ResNet50, and this case has" in "\n".join(shown)
    assert "films_per_s=40" in "\n".join(shown)


def test_a_run_that_cannot_measure_ours_fails_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(name: str, case: Case) -> Measured:
        raise MemoryError

    monkeypatch.setattr(benchmark, "in_own_process", lambda *_: False)
    monkeypatch.setattr(benchmark, "machine_facts", lambda packages: {})
    monkeypatch.setattr(benchmark, "_run", run)
    shown: list[str] = []
    with pytest.raises(RunError, match="cannot do any case; the last reason: out of memory"):
        benchmark.run(show=shown.append)
    assert shown == [f"{OURS:<14} step      left out: out of memory"]


@pytest.mark.parametrize("head_by_head", [True, False])
def test_the_summary_divides_by_the_parts(head_by_head: bool) -> None:
    def row(subject: str, seconds: float, peak: int) -> Row:
        return Row({}, subject, "step", seconds, seconds, seconds, peak, seconds / 2.0)

    rows = [row(OURS, 2.0, 10), row(BACKBONE, 1.0, 5), row(UPDATE, 0.6, 5)]
    if head_by_head:
        rows.append(row(HEAD_BY_HEAD, 40.0, 50))
    text = benchmark._summary(rows)
    assert "1.25 × its backbone and update" in text
    assert ("20.0 × ours, 5.0 × its memory" in text) == head_by_head


def test_the_summary_on_a_gpu_takes_queued_steps() -> None:
    case = preset_case("paper", 8)
    results = {
        OURS: measured(9.0, 0.4),
        BACKBONE: measured(9.0, 0.3),
        UPDATE: measured(9.0, 0.1),
        PYTORCH: measured(9.0, 0.2),
        BOUND: measured(0.05, 0.05),
    }
    assert benchmark._summary(benchmark._rows(case, results, None)) == (
        "our step takes 1.00 × its backbone and update, 8.0 × the bound; "
        "its backbone 1.50 × PyTorch's"
    )
