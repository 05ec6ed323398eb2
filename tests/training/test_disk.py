"""Files cut short and disks that are full: the checkpoint before is the last, and stays.

A disk is filled for real where it may be mounted; an obstacle in the way covers the rest.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import pytest

from cephray.checkpoint import Progress, checkpoints_in, find_checkpoint, save_checkpoint
from cephray.checkpoint.store import MANIFEST
from cephray.config import Config
from cephray.errors import RunError
from cephray.model import build_network
from cephray.storage import replace_text
from tests.checkpoint.test_store import FILES, SHAPES
from tests.training.test_driver import launch

MakeConfig = Callable[..., Config]


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, small_config: MakeConfig) -> Path:
    """Save two epochs of a network of one layer."""
    run = tmp_path_factory.mktemp("tiny")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="dense")])
    optimizer = keras.optimizers.Adam(name="adam")
    optimizer.build(model.trainable_variables)
    progress = Progress()
    for epoch in (1, 2):
        progress = progress.advance({"epoch": epoch, "score": -epoch})
        folder = run / f"epoch-{epoch:04d}"
        save_checkpoint(folder, small_config(), progress, model, optimizer, SHAPES)
    return run


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_after_a_file_cut_short_the_checkpoint_before_is_the_last(
    name: str, kept: float, tiny_run: Path
) -> None:
    path = tiny_run / "epoch-0002" / name
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    try:
        assert [found.progress.epoch for found in checkpoints_in(tiny_run)] == [1]
        assert find_checkpoint(tiny_run).progress.epoch == 1
    finally:
        path.write_bytes(content)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk that holds one checkpoint of the small network, and not two."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk; the test with an obstacle covers the rest")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.slow
def test_a_full_disk_ends_in_one_line_and_leaves_the_last_checkpoint(
    cluster: None, small_disk: Path, films: Path, small_config: MakeConfig
) -> None:
    """A real one: a tmpfs of 200 MB."""
    output = small_disk / "run"
    with pytest.raises(
        RunError,
        match=r"epoch-0002 could not be written: .*No space left on device; make room; "
        r"the checkpoint of epoch 1 is intact: go on with --resume",
    ):
        launch(films, output, small_config())
    assert [found.progress.epoch for found in checkpoints_in(output)] == [1]
    assert not (output / "epoch-0002").exists()
    find_checkpoint(output).load_weights(build_network(small_config()))
    subprocess.run(["mount", "-o", "remount,size=900m", str(small_disk)], check=True)
    best = launch(films, output, small_config(), resume=True)
    assert [row["epoch"] for row in best.progress.history] == [1, 2]


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_written_ends_in_one_line(
    cluster: None, films: Path, tmp_path: Path, small_config: MakeConfig
) -> None:
    """Without a mount: a file lies where the second checkpoint belongs. Two workers end."""
    output = tmp_path / "run"

    def block(line: str) -> None:
        if line.startswith("epoch 1/2"):
            (output / "epoch-0002").write_text("in the way")

    config = small_config("train.num_workers=2", "train.max_failures=0")
    with pytest.raises(
        RunError, match=r"epoch-0002 could not be written: .*the checkpoint of epoch 1 is intact"
    ):
        launch(films, output, config, show=block)
    assert [found.progress.epoch for found in checkpoints_in(output)] == [1]


def test_a_file_that_cannot_be_replaced_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"
    replace_text(path, "first")

    def full(self: Path, target: Path) -> Path:
        assert self.read_text() == "second"  # the draft, which is removed
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        replace_text(path, "second")
    assert path.read_text() == "first"
    assert [found.name for found in tmp_path.iterdir()] == ["config.yaml"]


def test_an_old_checkpoint_has_no_steps(tiny_run: Path) -> None:
    """As written before runs could stop within an epoch."""
    old = json.loads((tiny_run / "epoch-0001/progress.json").read_text())
    del old["step_sums"]
    assert Progress(**old).step == 0
