"""The loop without Ray: what it learns, what it reports, and that it goes on as it would have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from cephray.checkpoint import (
    Checkpoint,
    Content,
    Progress,
    Row,
    checkpoint_name,
    checkpoints_in,
    intact_checkpoint,
    open_checkpoint,
    write_checkpoint,
)
from cephray.config import Config
from cephray.data import Films, FilmTable
from cephray.errors import RunError
from cephray.model import build_network
from cephray.training.gauges import GAUGES
from cephray.training.loop import is_stale, train

pytestmark = pytest.mark.usefixtures("tiny_backbones")
MakeConfig = Callable[..., Config]
MakeTable = Callable[[int], FilmTable]


class FolderContext:
    """One worker, its checkpoints in a folder; gives up after some epochs, as if killed."""

    rank, world_size, threads = 0, 1, 2

    def __init__(self, folder: Path, killed_after: int | None = None) -> None:
        self.folder = folder
        self.rows: list[Row] = []
        self.lines: list[str] = []
        self.killed_after = killed_after

    can_save, must_save = True, False

    def report(self, row: Row) -> None:
        self.rows.append(row)

    def save(self, content: Callable[[], Content]) -> None:
        made = content()
        write_checkpoint(self.folder / checkpoint_name(made.progress), made)
        if len(self.rows) == self.killed_after:
            raise KeyboardInterrupt

    def pause(self, progress: Progress) -> None:
        pass

    def intact(self) -> str:
        return intact_checkpoint(self.folder)

    def finish(self) -> None:
        pass

    def show(self, line: str) -> None:
        self.lines.append(line)

    def advance(self) -> None:
        """Nobody watches these runs."""

    def should_stop(self) -> bool:
        return False

    def last_checkpoint(self) -> Checkpoint | None:
        found = checkpoints_in(self.folder)
        return found[-1] if found else None


def weights_of(folder: Path) -> dict[str, bytes]:
    return {
        name: (folder / name).read_bytes()
        for name in ("weights.safetensors", "optimizer.safetensors")
    }


@pytest.mark.parametrize(
    "options",
    [
        (),
        (
            "train.average_decay=0.9",
            "train.accumulation_steps=2",
            "train.precision=mixed_bfloat16",
        ),
    ],
)
def test_resumed_after_two_epochs_equals_uninterrupted_four(
    tmp_path: Path, small_config: MakeConfig, make_table: MakeTable, options: tuple[str, ...]
) -> None:
    config = small_config(
        *options,
        "train.epochs=4",
        "train.schedule=cosine",
        "augment.flip.enabled=true",
        "augment.solarize.enabled=true",
        "augment.jitter.enabled=true",
    )
    films = Films(make_table(6), None)
    train(config, films, FolderContext(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        train(config, films, FolderContext(tmp_path / "parts", killed_after=2))
    second = FolderContext(tmp_path / "parts")
    train(config, films, second)
    assert [row["epoch"] for row in second.rows] == [3, 4]
    assert weights_of(tmp_path / "parts/epoch-0004") == weights_of(tmp_path / "whole/epoch-0004")


def test_learns_a_handful_of_films_by_heart(
    tmp_path: Path, small_config: MakeConfig, make_table: MakeTable
) -> None:
    context = FolderContext(tmp_path)
    table = make_table(4)
    config = small_config("train.epochs=25", "model.offset_unit=window", "train.clip_norm=1")
    train(config, Films(table, None), context)
    errors = [row["train_refined_mre_mm"] for row in context.rows]
    assert {row["learning_rate"] for row in context.rows} == {
        np.float32(config.train.learning_rate)
    }
    assert errors[-1] < 0.6 * errors[0]


def test_every_checkpoint_has_the_statistics_of_the_training_films(
    tmp_path: Path, small_config: MakeConfig, make_table: MakeTable
) -> None:
    """Also after the run went on, and never those of the validation films."""
    films = Films(make_table(6), make_table(4))
    with pytest.raises(KeyboardInterrupt):
        train(small_config(), films, FolderContext(tmp_path, killed_after=1))
    train(small_config(), films, FolderContext(tmp_path))
    for name in ("epoch-0001", "epoch-0002"):
        shapes = open_checkpoint(tmp_path / name).shapes
        assert shapes is not None
        assert shapes == films.training.shapes
        assert shapes.films == 6


@pytest.mark.parametrize(
    ("scores", "stale"),
    [
        ([3, 2], False),
        ([2, 3], False),
        ([2, 3, 4], True),
        ([2, 2, 2], True),  # an equal score is no better one
        ([3, 2, 4], False),
        ([2, 4, 1.9], False),
        ([1, 3, 2, 2, 1.5], True),
    ],
)
def test_patience_of_two_epochs(scores: list[float], stale: bool) -> None:
    progress = Progress(len(scores), history=[{"score": score} for score in scores])
    assert is_stale(progress, 2) == stale
    assert not is_stale(progress, None)


def test_validation_chooses_the_score_and_ends_the_run(
    tmp_path: Path, small_config: MakeConfig, make_table: MakeTable
) -> None:
    """With a learning rate of nearly nothing no epoch is better than the first by much."""
    context = FolderContext(tmp_path)
    config = small_config(
        "train.epochs=30",
        "train.early_stop_patience=2",
        "train.learning_rate=1e-12",
        "model.batch_norm_momentum=0",
        "train.global_batch_size=4",
    )
    progress = train(config, Films(make_table(4), make_table(3)), context)
    assert progress.epoch < 30
    assert len(context.rows) == progress.epoch
    scores = [row["score"] for row in context.rows]
    assert scores == [row["refined_mre_mm"] for row in context.rows]
    best = scores.index(min(scores))
    assert len(scores) == best + 1 + 2  # the best epoch, and as many more as the patience
    assert set(GAUGES) <= set(context.rows[0])


def test_a_loss_that_is_not_finite_names_step_and_films(
    tmp_path: Path, small_config: MakeConfig, make_table: MakeTable
) -> None:
    table = make_table(3)
    landmarks = table.landmarks_norm.copy()
    landmarks[1] = 1e30  # its square overflows
    broken = Films(replace(table, landmarks_norm=landmarks), None)
    config = small_config("train.global_batch_size=1", "model.detection_prior=none")
    with pytest.raises(RunError, match=r"the loss is inf at epoch 1, step \d \(films 002\)"):
        train(config, broken, FolderContext(tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_average_is_what_is_saved_and_the_weights_are_what_is_trained(
    tmp_path: Path, small_config: MakeConfig, make_table: MakeTable
) -> None:
    """One step: the average is a tenth of the fresh weights and nine tenths of the new ones."""
    saved = {}
    for name, options in {"plain": (), "averaged": ("train.average_decay=0.99",)}.items():
        config = small_config("train.epochs=1", *options)
        train(config, Films(make_table(4), None), FolderContext(tmp_path / name))
        saved[name] = load_file(tmp_path / name / "epoch-0001/weights.safetensors")
    moments = load_file(tmp_path / "averaged/epoch-0001/optimizer.safetensors")
    path = "detection/linear/kernel"
    keras.utils.set_random_seed(config.train.seed)
    fresh = {v.path: v.numpy() for v in build_network(config).variables}[path]
    trained = next(
        value for name, value in moments.items() if "detection" in name and "average" in name
    )
    np.testing.assert_array_equal(trained, saved["plain"][path])
    np.testing.assert_allclose(
        saved["averaged"][path], 0.1 * fresh + 0.9 * saved["plain"][path], rtol=1e-5, atol=1e-7
    )


def test_mixed_precision_learns_as_float32_does(
    tmp_path: Path, small_config: MakeConfig, make_table: MakeTable
) -> None:
    ends = {}
    for precision in ("float32", "mixed_bfloat16"):
        context = FolderContext(tmp_path / precision)
        config = small_config("train.epochs=1", f"train.precision={precision}")
        train(config, Films(make_table(4), None), context)
        ends[precision] = context.rows[0]["loss"]
        saved = load_file(tmp_path / precision / "epoch-0001/weights.safetensors")
        assert {value.dtype for value in saved.values()} == {np.dtype(np.float32)}
    assert keras.config.dtype_policy().name == "float32"
    assert ends["mixed_bfloat16"] != ends["float32"]
    assert ends["mixed_bfloat16"] == pytest.approx(ends["float32"], rel=5e-2)


def test_missing_landmarks_are_trained_around(
    tmp_path: Path, small_config: MakeConfig, make_table: MakeTable
) -> None:
    table = make_table(4)
    landmarks = table.landmarks_norm.copy()
    landmarks[:, 3] = np.nan
    landmarks[0, :10] = np.nan
    films = replace(table, landmarks_norm=landmarks)
    context = FolderContext(tmp_path)
    config = small_config("model.detection_prior=none")
    train(config, Films(films, films), context)
    assert all(np.isfinite(list(row.values())).all() for row in context.rows)


def test_minutes_save_within_an_epoch_and_the_run_goes_on_from_there(
    tmp_path: Path,
    small_config: MakeConfig,
    make_table: MakeTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A checkpoint that is due at every step: the one after a step alone leads to the same end."""
    config = small_config(
        "train.epochs=1", "train.global_batch_size=2", "train.checkpoint_every=0.000001min"
    )
    films = Films(make_table(6), None)
    train(config, films, FolderContext(tmp_path / "whole"))
    saved = sorted(path.name for path in (tmp_path / "whole").iterdir())
    steps = [f"epoch-0001-step-{step:05d}" for step in (1, 2, 3)]
    assert saved == ["epoch-0001", *steps]
    (tmp_path / "parts").mkdir()
    (tmp_path / "whole" / steps[0]).rename(tmp_path / "parts" / steps[0])
    train(config, films, FolderContext(tmp_path / "parts"))
    assert weights_of(tmp_path / "parts/epoch-0001") == weights_of(tmp_path / "whole/epoch-0001")


def test_every_second_epoch_and_the_last(
    tmp_path: Path, small_config: MakeConfig, make_table: MakeTable
) -> None:
    config = small_config("train.epochs=3", "train.checkpoint_every=2")
    train(config, Films(make_table(4), None), FolderContext(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-0002", "epoch-0003"]
