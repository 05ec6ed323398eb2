"""The training step's subjects: each takes a step, and all train the same network."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest

from cephray.benchmark.timing import OURS, Row
from cephray.benchmark.train_step import _summary
from cephray.benchmark.train_step_cases import BACKBONE, HEAD_BY_HEAD, UPDATE, Case, full_cases
from cephray.benchmark.train_step_subjects import SUBJECTS, build_step, time_steps
from cephray.config import Backbone, Config

MakeConfig = Callable[..., Config]


@pytest.mark.usefixtures("tiny_backbones")
def test_all_subjects_step_and_train_as_many_parameters(small_config: MakeConfig) -> None:
    config = small_config("train.global_batch_size=1", "model.fusion_depth=1")
    counts = {}
    for name in SUBJECTS:
        step, counts[name] = build_step(name, config)
        assert np.isfinite(np.asarray(step(), np.float64)).all(), name
    assert counts[OURS] == counts[UPDATE] == counts[HEAD_BY_HEAD] > counts[BACKBONE]


def test_steps_are_timed_at_least_three_times() -> None:
    calls: list[int] = []
    times = time_steps(lambda: calls.append(1), 0.0)
    assert len(times) == 3
    assert len(calls) == 5


def test_cases_cover_every_backbone_at_both_sizes() -> None:
    cases = list(full_cases())
    assert len(cases) == len(set(cases)) == 2 * len(get_args(Backbone))
    assert Case().config.data.image_height == 416


@pytest.mark.parametrize("head_by_head", [True, False])
def test_the_summary_divides_by_the_parts(head_by_head: bool) -> None:
    def row(subject: str, seconds: float, peak: int) -> Row:
        return Row({}, subject, "step", seconds, seconds, seconds, peak, seconds / 2.0)

    rows = [row(OURS, 2.0, 10), row(BACKBONE, 1.0, 5), row(UPDATE, 0.6, 5)]
    if head_by_head:
        rows.append(row(HEAD_BY_HEAD, 40.0, 50))
    text = _summary(rows)
    assert "1.25 × its backbone and update" in text
    assert ("20.0 × ours, 5.0 × its memory" in text) == head_by_head
