"""A place that a user names: a local folder, or a folder in an object store named by its URI.

A local place is a plain `pathlib.Path`, a remote one a `RemotePath`, so that whatever writes or
reads a run need not tell them apart.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cephray.errors import InputError, RunError
from cephray.storage.remote import RemotePath

LOCK_TIMEOUT_S = 1800
KEEP_S = 24 * 3600

Place = Path | RemotePath


def place(text: str) -> Place:
    """Return the place that a user names: a local path, or a URI with a scheme."""
    if text.startswith("file://"):
        return Path(unquote(urlsplit(text).path))
    return RemotePath(text) if re.match(r"[A-Za-z][\w+.-]+:/", text) else Path(text)


def fetched(file: RemotePath, sha256: str) -> Path:
    """Return a local copy of a remote file, fetched once on this machine.

    The copy lies in the user's folder among the temporary files, under the digest of its
    content, and is checked against it at every use. Copies that were not used for a day are
    removed.

    Args:
        file: to fetch.
        sha256: of its content, hexadecimal.

    Raises:
        InputError: the content is another.
        FileNotFoundError: there is no such file.
    """
    from filelock import FileLock

    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise InputError(f"{file}: {sha256!r} is no SHA-256 digest")
    cache = Path(tempfile.gettempdir()) / f"cephray-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    copy = cache / sha256
    with FileLock(cache / f"{sha256}.lock", timeout=LOCK_TIMEOUT_S):
        if not (copy.is_file() and digest(copy) == sha256):
            _remove_unused(cache)
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                draft = Path(folder) / "draft"
                file.download(draft)
                if digest(draft) != sha256:
                    raise InputError(f"{file} was changed after it was written")
                draft.replace(copy)
        os.utime(copy)
    return copy


def remove_folder(folder: Place) -> None:
    """Delete a folder with its content. What cannot be deleted stays, and nothing is raised."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
        return
    with suppress(InputError, RunError, FileNotFoundError):
        folder.rmtree()


def digest(path: Path) -> str:
    """Return the SHA-256 of a local file's content, hexadecimal."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def _remove_unused(cache: Path) -> None:
    for path in cache.iterdir():
        if path.lstat().st_mtime < time.time() - KEEP_S:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
