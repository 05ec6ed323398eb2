"""Locations given by the user: local folders, and folders in an object store given by their URI.

A local location is a `pathlib.Path`, and a remote one is a `RemotePath` with the same methods.
Code that reads or writes a run therefore need not distinguish them.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cephray.errors import InputError, RunError
from cephray.storage.remote import RemotePath

LOCK_TIMEOUT_S = 1800
KEEP_S = 24 * 3600

READS_AT_ONCE = 16
"""Number of threads for many small files: an object store answers each after some time."""

Place = Path | RemotePath


def place(text: str | os.PathLike[str] | RemotePath) -> Place:
    """Return the location that the user gave.

    Args:
        text: local path, or URI with a scheme; or a location, which is returned as it is.

    Returns:
        A `Path` for local paths and file:// URIs, otherwise a `RemotePath`.
    """
    if not isinstance(text, str):
        return text if isinstance(text, RemotePath) else Path(text)
    if text.startswith("file://"):
        return Path(unquote(urlsplit(text).path))
    return RemotePath(text) if re.match(r"[A-Za-z][\w+.-]+:/", text) else Path(text)


def list_files(folder: Place) -> list[Place]:
    """List the files in a folder, without those in its sub-folders, sorted by name.

    Of a folder in an object store, this takes a single request.
    """
    if isinstance(folder, RemotePath):
        return list(folder.files())
    return [path for path in sorted(folder.iterdir()) if path.is_file()]


def walk_files(folder: Place, leave_out: Place | None = None) -> Iterator[tuple[str, Place]]:
    """Yield the files in a folder sorted by name, then those in its sub-folders.

    Hidden files and folders are left out.

    Args:
        folder: folder to list.
        leave_out: sub-folder that is left out, or None.

    Yields:
        The path in the folder, with `/` between folders, and the file.

    Raises:
        InputError: If a folder cannot be read.
    """
    if isinstance(folder, RemotePath):
        yield from _walk_remote(folder, leave_out)
        return

    def refuse(error: OSError) -> None:
        raise InputError(f"folder {error.filename} cannot be read ({error.strerror})") from None

    out = leave_out.resolve() if isinstance(leave_out, Path) else None
    for here, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and Path(here, name).resolve() != out
        )
        for path in (Path(here, name) for name in sorted(files) if not name.startswith(".")):
            yield path.relative_to(folder).as_posix(), path


def _walk_remote(folder: RemotePath, leave_out: Place | None) -> Iterator[tuple[str, Place]]:
    # As in a local folder, only a sub-folder is left out.
    out = leave_out if isinstance(leave_out, RemotePath) else None
    if out is not None and folder.is_relative_to(out):
        out = None
    for file in folder.files(recursive=True):
        inside = file.relative_to(folder)
        if out is not None and file.is_relative_to(out):
            continue
        if not any(part.startswith(".") for part in inside.parts):
            yield inside.as_posix(), file


def read_text(path: Place, what: str) -> str:
    """Read a text file: UTF-8, or UTF-16 with a byte order mark, as Windows writes it.

    Args:
        path: path of the file.
        what: kind of file, for messages.

    Raises:
        InputError: If the file cannot be read as text.
    """
    try:
        content = path.read_bytes()
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{what} {path} cannot be read as text ({error}); save it as UTF-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def fetch_verified(file: RemotePath, sha256: str) -> Path:
    """Return a local copy of a remote file. It is downloaded once on each machine.

    Copies are cached in a folder of the user in the system's temporary folder, and their digest
    is verified on each use. Copies that were not used for a day are removed.

    Args:
        file: file to download.
        sha256: SHA-256 digest of the file's content, hexadecimal.

    Returns:
        Path of the local copy.

    Raises:
        InputError: If the content of the file does not have this digest.
        FileNotFoundError: If the file does not exist.
    """
    from filelock import FileLock

    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise InputError(f"{file}: {sha256!r} is not a SHA-256 digest")
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
    """Delete a folder and its content. Errors are ignored: what cannot be deleted is kept."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
        return
    with suppress(InputError, RunError, FileNotFoundError):
        folder.rmtree()


def digest(path: Path) -> str:
    """Return the SHA-256 digest of a local file's content, hexadecimal."""
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
