"""Tests that files are written completely or not at all, and the check for free folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from cephray.storage.files import is_free, replace_text


def test_text_is_written_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    for text in ("one\n", "two\r\nünïcode\n"):
        replace_text(path, text)
        assert path.read_bytes() == text.encode()
    assert [found.name for found in tmp_path.iterdir()] == ["file.txt"]


def test_a_failed_write_keeps_the_old_text_and_removes_the_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.txt"
    replace_text(path, "old")

    def full(self: Path, target: Path) -> None:
        raise OSError("no room")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no room"):
        replace_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["file.txt"]


def test_empty_and_missing_folders_are_free(tmp_path: Path) -> None:
    assert is_free(tmp_path)
    assert is_free(tmp_path / "not there")
    (tmp_path / "file").touch()
    assert not is_free(tmp_path)
    assert not is_free(tmp_path / "file")
