"""The cache of pretrained weights: the same to the bit, written once, mended if damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cephray.model import weights_cache
from cephray.model.efficientnet import weights_file
from cephray.model.pretrained import read_tensors
from cephray.model.weights_cache import cached_tensors
from cephray.storage import cache_folder

SOURCE = weights_file("efficientnet_lite0")


@pytest.fixture(scope="module")
def expected() -> weights_cache.Tensors:
    return read_tensors(SOURCE)


def require_equal(found: weights_cache.Tensors, expected: weights_cache.Tensors) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_the_second_time_the_archive_is_not_read(
    expected: weights_cache.Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_equal(cached_tensors(SOURCE, tmp_path), expected)

    def refuse(source: Path) -> weights_cache.Tensors:
        raise AssertionError("read again")

    monkeypatch.setattr(weights_cache, "read_tensors", refuse)
    require_equal(cached_tensors(SOURCE, tmp_path), expected)


@pytest.mark.parametrize("damage", ["cut", "empty", "a bit", "another file"])
def test_a_damaged_file_is_written_anew(
    damage: str, expected: weights_cache.Tensors, tmp_path: Path
) -> None:
    cached_tensors(SOURCE, tmp_path)
    [path] = tmp_path.glob("*.safetensors")
    content = bytearray(path.read_bytes())
    if damage == "a bit":
        content[-1000] ^= 1
    damaged = {"cut": content[:-9], "empty": b"", "another file": b"PK"}.get(damage, content)
    path.write_bytes(bytes(damaged))
    require_equal(cached_tensors(SOURCE, tmp_path), expected)
    written = path.stat().st_mtime_ns
    require_equal(cached_tensors(SOURCE, tmp_path), expected)
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize("folder", ["file/in/the/way", "/proc/cephray"])
def test_a_cache_that_cannot_be_written_is_done_without(
    folder: str, expected: weights_cache.Tensors, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    require_equal(cached_tensors(SOURCE, tmp_path / folder), expected)


def test_two_processes_convert_once(tmp_path: Path) -> None:
    code = (
        "import time\nfrom pathlib import Path\nfrom cephray.model import weights_cache as c\n"
        "plain = c.read_tensors\n"
        "def slow(source):\n    print('converted'); time.sleep(3); return plain(source)\n"
        "c.read_tensors = slow\n"
        f"c.cached_tensors(Path({str(SOURCE)!r}), Path({str(tmp_path)!r}))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in "ab"
    ]
    said = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sorted(said) == ["", "converted\n"]


def test_the_folder_is_where_caches_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "cephray"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache/cephray"
