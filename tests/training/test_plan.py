"""What a run is made of before it starts: films that occur twice are on one side only."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from cephray.config import Config
from cephray.data import write_dataset
from cephray.errors import InputError
from cephray.training.plan import plan_run

MakeConfig = Callable[..., Config]


@pytest.fixture(scope="module")
def with_copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve films, six in Test1; 002 is in Test1 again, and 003 is 005."""
    folder = tmp_path_factory.mktemp("data") / "films"
    write_dataset(folder, 12, size_px=(484, 600))
    paths = {path.stem: path for path in folder.rglob("*.png")}
    shutil.copy(paths["002"], paths["009"])
    shutil.copy(paths["003"], paths["005"])
    return folder


def test_training_films_of_the_validation_split_are_left_out(
    with_copies: Path, tmp_path: Path, small_config: MakeConfig
) -> None:
    lines: list[str] = []
    config = small_config("data.validation=test1", "train.global_batch_size=1")
    plan = plan_run(with_copies, tmp_path / "run", config, show=lines.append)
    assert [record.film for record in plan.training] == ["001", "003", "004", "005", "006"]
    assert [record.film for record in plan.validation] == [f"{n:03d}" for n in range(7, 13)]
    assert lines == [
        "training films left out, since they are in test1 as well: 1 "
        "(data.separate_copies=false trains on them)"
    ]
    config = small_config("data.validation=test1", "data.separate_copies=false")
    plan = plan_run(with_copies, tmp_path / "run", config, show=lines.append)
    assert len(plan.training) == 6


@pytest.mark.parametrize("seed", range(6))
def test_copies_are_on_one_side_of_a_holdout(
    seed: int, with_copies: Path, tmp_path: Path, small_config: MakeConfig
) -> None:
    config = small_config(
        "data.validation=holdout", "train.global_batch_size=1", f"train.seed={seed}"
    )
    plan = plan_run(with_copies, tmp_path / "run", config)
    held_out = {record.film for record in plan.validation}
    assert len(held_out & {"003", "005"}) in (0, 2)
    assert len(plan.training) + len(held_out) == 6
    assert held_out


def test_nothing_left_to_train_on(tmp_path: Path, small_config: MakeConfig) -> None:
    write_dataset(tmp_path / "films", 4, size_px=(484, 600))
    paths = sorted((tmp_path / "films").rglob("*.png"))
    for path in paths[1:]:
        shutil.copy(paths[0], path)
    for validation, said in (("test1", "separate_copies=false"), ("holdout", "copies of each")):
        config = small_config(f"data.validation={validation}", "train.global_batch_size=1")
        with pytest.raises(InputError, match=said):
            plan_run(tmp_path / "films", tmp_path / "run", config)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["train.num_workers=4"], None),  # the last one has no film in a batch of 3
        (["train.num_workers=5"], r"5 workers .* cannot share batches of 4 films .* at most 4"),
        (
            ["train.num_workers=4", "model.sync_batch_norm=false"],
            r"share batches of 3 films .* at most 3, or a larger batch, or model.sync_batch_norm",
        ),
        (["train.num_workers=4", "train.accumulation_steps=2"], r"share of 1 films .* in 2 parts"),
    ],
)
def test_more_workers_than_films_in_a_batch(
    overrides: list[str],
    said: str | None,
    films: Path,
    tmp_path: Path,
    small_config: MakeConfig,
) -> None:
    """11 films in batches of at most 4 are batches of 4, 4 and 3."""
    config = small_config("train.global_batch_size=4", *overrides)
    refused = nullcontext() if said is None else pytest.raises(InputError, match=said)
    with refused:
        plan_run(films, tmp_path / "run", config)
