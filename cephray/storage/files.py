"""Text files that are written whole or not at all, and empty folders.

A full disk or a kill never leaves half a file. It knows paths and bytes, and no formats.
"""

from __future__ import annotations

import os
from pathlib import Path

from cephray.storage.location import Place
from cephray.storage.remote import RemotePath


def replace_text(path: Place, text: str) -> None:
    """Write a small text file beside its place, and put it there in one step.

    Args:
        path: of the file; its folder must exist.
        text: all of its content, written as UTF-8.

    Raises:
        OSError: it could not be written; what was there before is still there.
        InputError, RunError: the same in an object store; see `RemotePath`.
    """
    if isinstance(path, RemotePath):  # an object store puts a file there whole by itself
        path.write_text(text)
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8", newline="")
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def is_free(folder: Path) -> bool:
    """Return whether results may go into a folder: it is empty, or not there yet."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
