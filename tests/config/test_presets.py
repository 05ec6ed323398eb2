"""Tests that all commands with a configuration find presets by name, from any folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from cephray.cli import __main__ as cli
from cephray.config import load_config
from cephray.config.presets import find_config, preset_files
from cephray.errors import InputError
from tune import search

NAMES = ["best", "paper", "small"]
COMMANDS = {
    "train": (cli.main, ["train", "--data", "films", "--output", "run"]),
    "data-check": (cli.main, ["data-check", "--data", "films"]),
    "search": (search.main, ["--data", "films", "--output", "out"]),
}


def test_the_package_contains_the_presets() -> None:
    assert list(preset_files()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_name_and_path_load_the_same_preset(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    by_name = load_config(name)
    assert load_config(Path(str(preset_files()[name]))) == by_name
    assert load_config(str(preset_files()[name])) == by_name


def test_a_preset_takes_precedence_over_a_file_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("best").write_text("train: {epochs: 123}")
    assert load_config("best").train.epochs == 40
    assert load_config("./best").train.epochs == 123
    assert load_config(Path("best")).train.epochs == 123


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("bset", " (did you mean 'best'?)"),
        ("BEST", " (did you mean 'best'?)"),
        ("best.yaml", " (did you mean 'best'?)"),
        ("presets/paper.yaml", " (did you mean 'paper'?)"),
        ("tiny-network", ""),
        ("", ""),
        ("a\0b", ""),
        ("x" * 5000, ""),
    ],
    ids=["typo", "case", "suffix", "old path", "unknown", "empty", "no path", "long"],
)
def test_neither_a_preset_nor_a_file_is_refused(
    given: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        find_config(given)
    assert str(caught.value) == (
        f"config {given!r}: is neither a preset nor a file{hint}; give the name of a preset "
        "(best, paper, small) or the path of a YAML file"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_find_presets_by_name(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    main, arguments = COMMANDS[command]
    # The preset's own frozen_levels of 2 shows that it was read.
    assert main([*arguments, "--config", "best", "--set", "model.backbone_weights=none"]) == 2
    assert "frozen_levels=2 needs model.backbone_weights" in capsys.readouterr().err
    assert main([*arguments, "--config", "bset"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "neither a preset nor a file (did you mean 'best'?); give" in line
    Path("own.yaml").write_text("model: {fusion_depth: 9}")
    assert main([*arguments, "--config", "own.yaml"]) == 2
    assert "less than or equal to 4; got 9" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.yaml"]
