"""Ends that all workers agree upon: a loss that is not finite, a wish to stop within an epoch."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cephray.checkpoint import checkpoints_in, find_checkpoint
from cephray.cluster import StopRequest
from cephray.config import Config
from cephray.data import Films, FilmTable
from cephray.data.pipeline import epoch_order
from cephray.errors import RunError, Stopped
from cephray.training.driver import _decode as decode_plan
from cephray.training.loop import train
from cephray.training.plan import Plan
from tests.training.test_driver import launch
from tests.training.test_loop import FolderContext, weights_of

MakeConfig = Callable[..., Config]
MakeTable = Callable[[int], FilmTable]


class CountingContext(FolderContext):
    """Counts the steps: the loop asks at each whether to stop; says so at the wanted one."""

    stops_at: int | None = None

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.steps = 0

    def advance(self) -> None:
        """Nobody watches these runs."""

    def should_stop(self) -> bool:
        self.steps += 1
        return self.steps == self.stops_at


@pytest.mark.usefixtures("tiny_backbones")
def test_a_loss_that_is_not_finite_ends_the_run_within_two_steps(
    tmp_path: Path, small_config: MakeConfig, make_table: MakeTable
) -> None:
    config = small_config("train.global_batch_size=1", "model.detection_prior=none")
    table = make_table(8)
    context = CountingContext(tmp_path)
    films = Films(table, None)
    train(small_config("train.global_batch_size=1", "train.epochs=1"), films, context)
    whole = weights_of(tmp_path / "epoch-0001")

    context.steps = 0
    landmarks = table.landmarks_norm.copy()
    landmarks[epoch_order(8, config.train.seed, 2)[1]] = 1e30  # its square overflows
    broken = Films(replace(table, landmarks_norm=landmarks), None)
    with pytest.raises(
        RunError, match=r"loss is inf at epoch 2, step 2 .*; the checkpoint of epoch 1 is intact"
    ):
        train(config, broken, context)
    assert context.steps == 4
    assert weights_of(tmp_path / "epoch-0001") == whole
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0001"]


@pytest.mark.slow
def test_two_workers_end_together_where_the_loss_of_one_is_not_finite(
    cluster: None,
    films: Path,
    tmp_path: Path,
    small_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decode_broken(plan: Plan) -> Films:
        table = decode_plan(plan).training
        landmarks = table.landmarks_norm.copy()
        landmarks[0] = 1e30
        return Films(replace(table, landmarks_norm=landmarks), None)

    monkeypatch.setattr("cephray.training.driver._decode", decode_broken)
    config = small_config("train.num_workers=2", "model.detection_prior=none")
    with pytest.raises(
        RunError,
        match=r"loss is inf at epoch 1, step . \(films .*001.*\); there was no complete ",
    ):
        launch(films, tmp_path / "run", config)
    assert checkpoints_in(tmp_path / "run") == []


@pytest.mark.usefixtures("tiny_backbones")
def test_stopped_within_an_epoch_goes_on_to_the_same_weights(
    tmp_path: Path, small_config: MakeConfig, make_table: MakeTable
) -> None:
    config = small_config("train.global_batch_size=1", "augment.flip.enabled=true")
    films = Films(make_table(5), None)
    train(config, films, FolderContext(tmp_path / "whole"))
    for stops_at, step in ((7, 4), (1, 5)):  # it takes two steps more
        parts = CountingContext(tmp_path / "parts")
        parts.stops_at = stops_at
        reached = train(config, films, parts)
        assert (reached.epoch, str(reached)) == (1, f"epoch 2, step {step}")
        assert find_checkpoint(tmp_path / "parts").progress.step == 0
    second = FolderContext(tmp_path / "parts")
    train(config, films, second)
    assert weights_of(tmp_path / "parts/epoch-0002") == weights_of(tmp_path / "whole/epoch-0002")
    whole = find_checkpoint(tmp_path / "whole").progress.history[-1]
    for name in ("loss", "train_refined_mre_mm", "score"):
        assert second.rows[-1][name] == whole[name]


def test_the_first_signal_waits_and_the_second_ends() -> None:
    request = StopRequest()
    request.can_wait = True
    request.receive(signal.SIGTERM)
    assert request.signal is signal.SIGTERM
    with pytest.raises(Stopped, match="stopped by SIGINT") as stopped:
        request.receive(signal.SIGINT)
    assert stopped.value.code == 130
