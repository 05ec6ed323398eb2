"""How busy the card is: the samples of a stretch of time, and what nvidia-smi may answer."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cephray.benchmark.card import CardBusy, busy_percent


@pytest.fixture
def fake_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an nvidia-smi on PATH that answers with the file `answer` and keeps its words."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\ncat {tmp_path}/answer\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_only_samples_of_the_time_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver looks a second back, so the first second is another's."""
    clock = iter(range(100, 200))
    monkeypatch.setattr("cephray.benchmark.card.time.time", lambda: next(clock))
    values = iter([10.0, 20.0, 30.0, 40.0, 50.0, None])
    with CardBusy(lambda: next(values)) as card:
        card._thread.join()
    assert card.percent(100.5, 103.0) == 35.0  # at 102 and 103
    assert card.percent(99.0, 104.0) == 30.0
    assert card.percent(104.0, 104.9) is None


def test_samples_until_it_is_left() -> None:
    with CardBusy(lambda: 50.0) as card:
        time.sleep(0.5)
    assert not card._thread.is_alive()
    assert len(card._samples) >= 2


@pytest.mark.parametrize(
    ("answer", "wanted"), [("97\n", 97.0), ("[N/A]\n", None), ("No devices were found\n", None)]
)
def test_what_nvidia_smi_answers(fake_nvidia_smi: Path, answer: str, wanted: float | None) -> None:
    (fake_nvidia_smi / "answer").write_text(answer)
    assert busy_percent({}) == wanted


@pytest.mark.parametrize(
    ("visible", "wanted"), [(None, "--id=0"), ("2,3", "--id=2"), ("GPU-8f6d", "--id=GPU-8f6d")]
)
def test_it_asks_about_the_first_visible_card(
    fake_nvidia_smi: Path, visible: str | None, wanted: str
) -> None:
    (fake_nvidia_smi / "answer").write_text("1\n")
    busy_percent({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert wanted in (fake_nvidia_smi / "words").read_text().split()


def test_without_nvidia_smi_there_is_no_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert busy_percent({}) is None
