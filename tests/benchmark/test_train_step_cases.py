"""The training step's cases: what they cover, and which subjects they do without."""

from __future__ import annotations

from typing import get_args

import pytest

from cephray.benchmark.timing import OURS
from cephray.benchmark.train_step_cases import (
    BACKBONE,
    BOUND,
    HEAD_BY_HEAD,
    PYTORCH,
    UPDATE,
    Case,
    full_cases,
    preset_case,
    quick_cases,
)
from cephray.config import Backbone, load_config


def test_on_a_cpu_every_backbone_at_both_sizes() -> None:
    cases = list(full_cases(on_gpu=False))
    assert len(cases) == len(set(cases)) == 2 * len(get_args(Backbone))
    assert list(quick_cases(on_gpu=False)) == [Case()]
    assert {case.device for case in cases} == {"cpu"}


def test_on_a_gpu_every_preset_batch_and_precision() -> None:
    cases = list(full_cases(on_gpu=True))
    assert len(cases) == len(set(cases))
    assert {(c.preset, c.batch, c.precision) for c in cases if not c.deterministic} == {
        (preset, batch, precision)
        for preset in ("paper", "best")
        for batch in (8, 32)
        for precision in ("float32", "mixed_bfloat16")
    }
    assert {case.preset for case in cases if case.deterministic} == {"paper", "best"}
    assert {case.device for case in cases} == {"gpu"}
    quick = list(quick_cases(on_gpu=True))
    assert set(quick) < set(cases)
    assert [case.preset for case in quick] == ["paper", "best"]


@pytest.mark.parametrize("preset", ["paper", "best"])
def test_a_presets_case_keeps_its_network(preset: str) -> None:
    """What differs is batch and precision, and that XLA compiles as in a long run."""
    case = preset_case(preset, 32, "float32")
    changes = ("global_batch_size=32", "precision=float32", "deterministic=no", "jit=on")
    assert case.config == load_config(preset, [f"train.{change}" for change in changes])


def test_the_quick_case_is_the_papers_network_on_one_small_film() -> None:
    config = Case().config
    assert (config.data.image_height, config.data.image_width) == (416, 320)
    assert (config.train.global_batch_size, config.train.precision) == (1, "float32")


def test_subjects() -> None:
    assert Case().subjects == (OURS, BACKBONE, UPDATE, HEAD_BY_HEAD)
    assert preset_case("paper", 8).subjects == (OURS, BACKBONE, UPDATE, PYTORCH, BOUND)


@pytest.mark.parametrize(
    ("case", "subject", "reason"),
    [
        (Case(height=800, width=640), HEAD_BY_HEAD, "twenty passes at this size"),
        (preset_case("best", 8), PYTORCH, "this case has the backbone efficientnet_lite2"),
    ],
)
def test_a_case_without_a_subject_has_a_reason(case: Case, subject: str, reason: str) -> None:
    assert reason in (case.reason_without(subject) or "")
    assert {case.reason_without(name) for name in case.subjects if name != subject} == {None}


def test_other_cases_have_all_subjects() -> None:
    for case in (Case(), preset_case("paper", 8)):
        assert {case.reason_without(name) for name in case.subjects} == {None}
