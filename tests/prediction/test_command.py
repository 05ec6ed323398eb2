"""Prediction of folders as a user meets it: by exit code and lines."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from cephray.checkpoint import Checkpoint
from cephray.cli.__main__ import main
from cephray.prediction.files import Summary
from tests.prediction.folders import BROKEN, check, write_folder
from tests.training.processes import descendants, wait_until


def command(checkpoint: Checkpoint, output: Path, *rest: str | Path) -> list[str]:
    return [
        sys.executable, "-m", "cephray.cli", "predict", "--checkpoint", str(checkpoint.folder),
        "--output", str(output), *map(str, rest),
    ]  # fmt: skip


@pytest.mark.parametrize("count", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_a_folder_with_broken_films(
    films: Path, checkpoint: Checkpoint, tmp_path: Path, count: int
) -> None:
    """As a user meets it: results of all the others, a line each, and the exit code."""
    folder = films if count == 30 else write_folder(tmp_path, count)
    output = tmp_path / "out"
    ended = subprocess.run(
        command(checkpoint, output, folder), env=os.environ | {"RAY_ADDRESS": "local"},
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    *unread, last = ended.stderr.splitlines()
    assert last == f"cephray: {BROKEN} of {count} films could not be read"
    passed_over = "cephray: passed over: film "
    assert all(line.startswith(passed_over) for line in unread), ended.stderr
    spacing = f"spacing of films: {count - BROKEN} unknown (--spacing MM gives it)"
    assert ended.stdout.splitlines()[:4] == [
        f"{count - BROKEN} of {count} films: results in {output}", spacing,
        "landmarks were not compared with those of the training films: the checkpoint has no"
        " statistics of them (`cephray compact --data DIR` adds them)",
        # The network was never trained.
        f"doubtful films: {count - BROKEN} of {count - BROKEN}",
    ]  # fmt: skip
    unread = [line.removeprefix("cephray: passed over: ") for line in unread]
    check(Summary(written=count - BROKEN, unread=unread), output, count)


# Files of a folder; names of the results; the line about other files, or None if there is none.
FOLDERS: dict[str, tuple[list[str], list[str], str | None]] = {
    "films only": (["a.png", "b.webp"], ["a", "b"], None),
    "one name": (["same.png", "same.jpg", "web.webp"], ["same.jpg", "same.png", "web"], None),
    "sub-folder": (["x/a.png", "x/a.jpg", "a.png"], ["a", "x/a.jpg", "x/a.png"], None),
    "others": (
        ["a.png", "notes.txt", "x/more.TXT", "x/film.gif", "README"], ["a"],
        "files that are no films, left out: 2 .txt, 1 no suffix, 1 .gif",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FOLDERS)
def test_every_film_of_a_folder_has_its_results(
    tiny_backbones: None, tiny_checkpoint: Checkpoint, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str,
) -> None:  # fmt: skip
    """Films of one name stay apart, and files that are no films are counted by kind."""
    monkeypatch.setenv("RAY_ADDRESS", "local")
    names, expected, others = FOLDERS[case]
    folder, output = tmp_path / "films", tmp_path / "out"
    image = np.random.default_rng(0).integers(0, 256, (120, 96), np.uint8)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if path.suffix in (".png", ".jpg", ".webp"):
            path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    given = ["--checkpoint", str(tiny_checkpoint.folder), "--output", str(output), str(folder)]
    assert not main(["predict", *given])
    for suffix in (".json", ".png"):
        found = (path.relative_to(output).as_posix() for path in output.rglob(f"*{suffix}"))
        assert sorted(found) == sorted(f"{name}{suffix}" for name in expected)
    with (output / "landmarks.csv").open(newline="") as table:
        assert sorted({row["film"] for row in csv.DictReader(table)}) == expected
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "no films" in line] == ([others] if others else [])


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_one_line(
    checkpoint: Checkpoint, tmp_path: Path, number: int, code: int
) -> None:
    folder, output = write_folder(tmp_path, 600), tmp_path / "out"
    with subprocess.Popen(
        command(checkpoint, output, folder), env=os.environ | {"RAY_ADDRESS": "local"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        wait_until(
            lambda: process.poll() is not None or list(output.rglob("*.json")), "first result"
        )
        below = descendants(process.pid)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert len(said.splitlines()) == 1, said
    assert "of 600 films have their results in" in said
    assert (output / "landmarks.csv").exists()
    wait_until(lambda: not set(below) & set(psutil.pids()), "end of all processes", 60)
