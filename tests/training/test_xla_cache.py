"""Compiled steps that a later process reads instead of compiling them again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cephray.storage import cache_folder
from cephray.training import xla_cache

STEP = """
import sys
from cephray.training.xla_cache import keep_compiled_steps
from cephray.training.xla import set_xla_flags
set_xla_flags(sys.argv[1] == "deterministic")  # XLA ends a process that names a flag it lacks
assert keep_compiled_steps(deterministic=sys.argv[1] == "deterministic") is not None
import tensorflow as tf
from cephray.ops import roi_crop

@tf.function(jit_compile=True)
def step(features):
    return tf.reduce_sum(roi_crop([features], tf.fill((1, 2, 1, 4), 0.25), 3) ** 2)

print(float(step(tf.reshape(tf.range(64.0), (1, 4, 4, 4)))))
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TF_XLA_FLAGS", "")
    return cache_folder() / "xla"


def run(mode: str) -> float:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", STEP, mode]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_a_later_process_reads_what_the_first_compiled(cache: Path) -> None:
    value = run("deterministic")
    [stored] = cache.rglob("*.pb")
    written_s = stored.stat().st_mtime_ns
    assert run("deterministic") == value
    assert list(cache.rglob("*.pb")) == [stored]
    assert stored.stat().st_mtime_ns == written_s  # a compiled function would be written anew
    assert run("not deterministic") == value
    assert len({path.parent for path in cache.rglob("*.pb")}) == 2


def test_folders_that_nobody_used_for_long_are_removed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, days in {"old": 31, "young": 29}.items():
        (cache / name).mkdir(parents=True)
        then = time.time() - days * 24 * 3600
        os.utime(cache / name, (then, then))
    folder = xla_cache.keep_compiled_steps(True)
    assert folder is not None
    assert {path.name for path in cache.iterdir()} == {"young", folder.name}
    assert os.environ["TF_XLA_FLAGS"].endswith(f"={folder}")


def test_the_users_own_folder_stays(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = "--tf_xla_persistent_cache_directory=/elsewhere"
    monkeypatch.setenv("TF_XLA_FLAGS", flags)
    assert xla_cache.keep_compiled_steps(True) is None
    assert os.environ["TF_XLA_FLAGS"] == flags
    assert not cache.exists()


def test_a_full_disk_gets_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xla_cache, "_LEAST_FREE_BYTES", 2**60)
    assert xla_cache.keep_compiled_steps(True) is None
    assert not os.environ["TF_XLA_FLAGS"]


def test_a_cache_that_cannot_be_made(cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file")
    assert xla_cache.keep_compiled_steps(True) is None
    assert not os.environ["TF_XLA_FLAGS"]
