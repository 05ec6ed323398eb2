"""Files that are written completely or not at all, and a check for empty folders.

A full disk or a killed process never leaves half a file. It knows paths and bytes, but no file
formats.
"""

from __future__ import annotations

import os
from pathlib import Path

from cephray.storage.location import Place
from cephray.storage.remote import RemotePath


def replace_text(path: Place, text: str) -> None:
    """Write a small text file atomically, as UTF-8; see `replace_bytes`."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Place, content: bytes, durable: bool = False) -> None:
    """Write a small file atomically.

    The content is written to a temporary file in the same folder, which then replaces the file.

    Args:
        path: path of the file. Its folder must exist.
        content: content of the file.
        durable: whether the content is on the disk when this returns, so that a power cut leaves
            the earlier file or the new one. This takes some milliseconds more.

    Raises:
        OSError: If the file cannot be written. An earlier file at this path is kept.
        InputError, RunError: If the file cannot be written to an object store; see `RemotePath`.
    """
    if isinstance(path, RemotePath):  # object stores write files atomically
        path.write_bytes(content)
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def is_free(folder: Path) -> bool:
    """Return whether a folder is empty or does not exist, so that results may go into it."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
