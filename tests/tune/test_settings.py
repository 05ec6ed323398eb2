"""What a search is started with, and what it goes on with."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cephray.config import load_config, preset_files
from cephray.errors import InputError
from tune.drivers import FOLDER
from tune.search import _parser
from tune.settings import BASE, SEARCH, Settings, load_settings, settle
from tune.space import DEFAULT, load_space, space_files


def settings(folder: Path, *arguments: str) -> Settings:
    options = _parser().parse_args(
        ["--data", str(folder / "films"), "--output", str(folder / "out"), *arguments]
    )
    return settle(options)


def test_defaults(tmp_path: Path) -> None:
    made = settings(tmp_path, "--set", "train.epochs=12")
    assert made.base == load_config(overrides=["train.epochs=12"])
    assert made.space == load_space(DEFAULT, made.base)
    assert made.search.trials == 16
    assert made.search.seed == 0
    assert made.search.grace_epochs == 3
    assert made.search.study_name == "out"
    assert [objective.key for objective in made.objectives] == ["mre_mm"]
    assert not (tmp_path / "out").exists()


def test_the_workers_of_a_trial_share_its_gpus(tmp_path: Path) -> None:
    train = settings(tmp_path, "--gpus-per-trial", "0.5", "--num-workers", "2").base.train
    assert train.use_gpu
    assert train.gpus == 0.25
    assert settings(tmp_path).base.train.gpus == 0


def test_validation_is_the_option_s_and_never_none(tmp_path: Path) -> None:
    assert settings(tmp_path, "--set", "data.validation=none").base.data.validation == "holdout"
    made = settings(tmp_path, "--validation", "test1", "--second-objective", "latency")
    assert made.base.data.validation == "test1"
    assert [objective.key for objective in made.objectives] == ["mre_mm", "latency_ms"]
    with pytest.raises(SystemExit):
        settings(tmp_path, "--validation", "test2")


def test_epochs_are_those_of_the_longest_trial(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("train.epochs: {integer: [5, 20]}\n")
    assert settings(tmp_path, "--space", str(space)).epochs == 20


def test_what_is_saved_is_what_goes_on(tmp_path: Path) -> None:
    first = settings(tmp_path, "--set", "model.backbone=resnet18", "--trials", "5", "--seed", "3")
    first.save()
    assert load_settings(tmp_path / "out") == first
    assert settings(tmp_path, "--resume") == first
    again = ["--set", "model.backbone=resnet18", "--seed", "3", "--space", DEFAULT]
    assert settings(tmp_path, "--resume", *again) == first
    assert settings(tmp_path, "--resume", "--trials", "9").search.trials == 9


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--seed", "1"], "another seed"),
        (["--set", "train.epochs=3"], "another config"),
        (["--num-workers", "2"], "another config"),
        (["--validation", "test1"], "another config"),
        (["--second-objective", "parameters"], "another second objective"),
        (["--storage", "sqlite:///x.db"], "another storage"),
        (["--data", "elsewhere"], "another data"),
        (["--grace-epochs", "7"], "another grace epochs"),
    ],
)
def test_a_search_that_goes_on_is_the_same(option: list[str], said: str, tmp_path: Path) -> None:
    settings(tmp_path).save()
    with pytest.raises(InputError, match=said):
        settings(tmp_path, "--resume", *option)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--trials", "0"], "--trials: Input should be greater than 0; got 0"),
        (["--seed", "-1"], "--seed: "),
        (["--reduction-factor", "1"], "--reduction-factor: "),
        (["--grace-epochs", "0"], "--grace-epochs: "),
        (["--config", "none.yaml"], "config 'none.yaml': is neither a preset nor a file"),
        (["--space", "wdie"], "space 'wdie': is neither .*did you mean 'wide'"),
        (["--set", "model.depth=3"], "unknown config key"),
        (["--gpus-per-trial", "0"], "--gpus-per-trial: must be above 0 and at most 1"),
        (["--gpus-per-trial", "2.5", "--num-workers", "2"], "and at most 2, one for each worker"),
    ],
)
def test_wrong_options(option: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        settings(tmp_path, *option)


def test_folders_that_hold_something_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / FOLDER).mkdir()
    (out / BASE).touch()  # killed before the search was written down
    settings(tmp_path).save()
    with pytest.raises(InputError, match="holds another search; go on with it by --resume"):
        settings(tmp_path)
    (out / SEARCH).unlink()
    (out / "notes.txt").touch()
    for resume in ([], ["--resume"]):
        with pytest.raises(InputError, match=r"is not empty \(holds notes.txt\), and holds no"):
            settings(tmp_path, *resume)
    with pytest.raises(InputError, match="holds no search"):
        load_settings(out)
    with pytest.raises(InputError, match="is a file"):
        settings(tmp_path, "--output", str(out / "notes.txt"))


def test_a_password_is_not_kept(tmp_path: Path) -> None:
    url = "postgresql://me:secret@host/db"
    first = settings(tmp_path, "--storage", url)
    first.save()
    for file in (tmp_path / "out").iterdir():
        assert "secret" not in file.read_text()
        assert stat.S_ISREG(file.stat().st_mode)
    with pytest.raises(InputError, match="give --storage again"):
        settings(tmp_path, "--resume")
    assert settings(tmp_path, "--resume", "--storage", url) == first


@pytest.mark.parametrize("preset", list(preset_files()))
def test_every_preset_can_be_searched_with_the_default_space(preset: str, tmp_path: Path) -> None:
    made = settings(tmp_path, "--config", preset)
    assert made.base.model.backbone == load_config(preset).model.backbone


@pytest.mark.parametrize("space", list(space_files()))
def test_the_best_preset_can_be_searched_with_every_space_of_the_package(
    space: str, tmp_path: Path
) -> None:
    made = settings(tmp_path, "--config", "best", "--space", space)
    made.save()
    assert load_settings(tmp_path / "out") == made
