"""Where a run lies: a local folder, or a folder in an object store, named by its URI.

A local place is a plain `pathlib.Path`. A remote one answers those of its methods that a run
needs, so that whatever writes or reads a run need not tell them apart. It is the only file that
knows `pyarrow.fs`; it knows nothing of what the files hold.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache, reduce
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from cephray.errors import InputError, RunError

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

# An answer that does not come is asked for three times: half a minute, then one clear line.
CONNECT_TIMEOUT_S, REQUEST_TIMEOUT_S = 5, 10
GCS_RETRY_LIMIT_S = 30
LOCK_TIMEOUT_S = 1800
KEEP_S = 24 * 3600
_DENIED = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH|INVALID_CLIENT_TOKEN|EXPIRED_TOKEN"
    r"|PERMISSION_DENIED|UNAUTHENTICATED|AuthorizationFail|Forbidden|credentials",
    re.IGNORECASE,
)
_NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|Bucket '.*' not found|bucket does not exist|NOT_FOUND")
_UNREACHED = re.compile(r"NETWORK_CONNECTION|UNAVAILABLE|DEADLINE_EXCEEDED|timed? ?out|resolve")


@dataclass(frozen=True, repr=False)
class RemotePath:
    """A file or folder in an object store; what it shares with `pathlib.Path` does the same.

    Args:
        uri: as `pyarrow.fs.FileSystem.from_uri` takes it, with its query. Nothing is contacted
            before the first use.

    Raises:
        InputError: of every method: no such scheme or bucket, or no permission.
        RunError: of every method: the store cannot be reached, or answers with another error.

    Example:
        >>> str(RemotePath("s3://bucket/run?region=eu-west-1") / "history.csv")
        's3://bucket/run/history.csv?region=eu-west-1'
    """

    uri: str

    def __truediv__(self, name: str) -> RemotePath:
        """Return a file or folder in this folder."""
        return self._at(f"{urlsplit(self.uri).path.rstrip('/')}/{quote(name)}")

    def __str__(self) -> str:
        """Return the URI without what is secret in it."""
        shown = re.sub(r"//[^/?@]*:[^/?@]*@", "//", self.uri)
        return re.sub(r"(?i)(\w*(?:key|secret|token)\w*)=[^&]*", r"\1=…", shown)

    __repr__ = __str__

    @property
    def name(self) -> str:
        """Last part of the path; empty where the URI names a whole bucket."""
        return unquote(urlsplit(self.uri).path.rstrip("/").rpartition("/")[2])

    @property
    def parent(self) -> RemotePath:
        """The folder that this lies in."""
        return self._at(urlsplit(self.uri).path.rstrip("/").rpartition("/")[0])

    @property
    def in_store(self) -> tuple[FileSystem, str]:
        """The store, and the path in it."""
        if not urlsplit(self.uri).netloc:
            raise InputError(f"{self}: names no bucket; write s3://bucket/folder")
        with self._explained():
            system, bucket = _connect(self._at("").uri)
        path = unquote(urlsplit(self.uri).path).strip("/")
        return system, f"{bucket}/{path}".rstrip("/")

    def exists(self) -> bool:
        """Tell whether there is a file or folder of this name."""
        return self.is_dir() or self.is_file()

    def is_dir(self) -> bool:
        """Tell whether this is a folder; one that holds a file is one, marked as such or not."""
        return bool(self._info().type.name == "Directory")

    def is_file(self) -> bool:
        """Tell whether this is a file."""
        return bool(self._info().type.name == "File")

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return int(self._info().size or 0)

    def iterdir(self) -> Iterator[RemotePath]:
        """List what lies in the folder."""
        from pyarrow.fs import FileSelector

        system, path = self.in_store
        with self._explained():
            found = system.get_file_info(FileSelector(path, allow_not_found=True))
        return iter([self / info.base_name for info in found])

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """List the files below the folder whose path in it matches a pattern, by one request."""
        from pyarrow.fs import FileSelector

        system, path = self.in_store
        with self._explained():
            found = system.get_file_info(FileSelector(path, allow_not_found=True, recursive=True))
        inside = (PurePosixPath(info.path).relative_to(path) for info in found if info.is_file)
        depth = len(PurePosixPath(pattern).parts)
        matching = (p for p in inside if len(p.parts) == depth and p.match(pattern))
        return iter([reduce(RemotePath.__truediv__, p.parts, self) for p in matching])

    def mkdir(self, parents: bool = True, exist_ok: bool = True) -> None:
        """Make the folder; in most stores, a mark of it."""
        system, path = self.in_store
        with self._explained():
            system.create_dir(path, recursive=parents)

    def read_text(self, encoding: str = "utf-8") -> str:
        """Read a whole text file.

        Raises:
            FileNotFoundError: there is none.
        """
        system, path = self.in_store
        with self._explained(), system.open_input_stream(path) as stream:
            return bytes(stream.read()).decode(encoding)

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Write a whole text file: all of it or, if that fails, what was there before."""
        system, path = self.in_store
        with self._explained(), system.open_output_stream(path) as stream:
            stream.write(text.encode(encoding))

    def unlink(self) -> None:
        """Delete a file."""
        system, path = self.in_store
        with self._explained():
            system.delete_file(path)

    def rmtree(self) -> None:
        """Delete a folder with all that is in it."""
        system, path = self.in_store
        with self._explained():
            system.delete_dir(path)

    def upload(self, folder: Path) -> None:
        """Copy a local folder's files here, over those of the same names."""
        from pyarrow.fs import LocalFileSystem, copy_files

        system, path = self.in_store
        with self._explained():
            # One thread: uploads by several can hang in pyarrow (apache/arrow, issue 32372).
            copy_files(str(folder), path, LocalFileSystem(), system, use_threads=False)

    def download(self, target: Path) -> None:
        """Copy this file to a local one."""
        from pyarrow.fs import LocalFileSystem, copy_files

        system, path = self.in_store
        with self._explained():
            copy_files(path, str(target), system, LocalFileSystem())

    def _info(self) -> FileInfo:
        system, path = self.in_store
        with self._explained():
            return system.get_file_info(path)

    def _at(self, path: str) -> RemotePath:
        return RemotePath(urlsplit(self.uri)._replace(path=path).geturl())

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the store says into one clear line."""
        try:
            yield
        except FileNotFoundError:
            raise
        except (OSError, ValueError, NotImplementedError) as error:
            if isinstance(error, InputError):
                raise
            raise _explain(self, error) from error


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
    """Delete a folder with all that is in it, as far as that is possible; nothing is raised."""
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


@lru_cache(maxsize=16)
def _connect(bucket_uri: str) -> tuple[FileSystem, str]:
    """Open a bucket's store with bounds on its waiting, and see that the bucket is there."""
    from pyarrow import fs

    system, bucket = fs.FileSystem.from_uri(bucket_uri)
    if isinstance(system, (fs.S3FileSystem, fs.GcsFileSystem)):
        # A URI cannot say all bounds; the parts that the store is pickled from can.
        settings: dict[str, Any] = system.__reduce__()[1][0]
        if isinstance(system, fs.S3FileSystem):
            settings |= {
                "connect_timeout": CONNECT_TIMEOUT_S,
                "request_timeout": REQUEST_TIMEOUT_S,
            }
        else:
            limit = settings["retry_time_limit"]
            settings["retry_time_limit"] = limit or timedelta(seconds=GCS_RETRY_LIMIT_S)
        system = type(system)._reconstruct(settings)
    bucket = bucket.strip("/")
    # A store answers "nothing there" to a question within a bucket that is not there.
    if bucket and system.get_file_info(bucket).type == fs.FileType.NotFound:
        raise OSError(f"Bucket '{bucket}' not found")
    return system, bucket


def _explain(where: RemotePath, error: Exception) -> InputError | RunError:
    said = (str(error).splitlines() or [type(error).__name__])[0]
    scheme = urlsplit(where.uri).scheme
    if "Unrecognized filesystem" in said:
        return InputError(
            f"{where}: unknown scheme {scheme!r}; give a local folder, or a URI that begins with "
            "s3://, gs://, abfs:// or hdfs://"
        )
    if _NO_BUCKET.search(said):
        return InputError(
            f"{where}: no such bucket; make it first, or look at the name, the region and "
            "endpoint_override"
        )
    if _DENIED.search(said):
        return InputError(
            f"{where}: no permission ({_brief(said)}); give credentials that may list, read, "
            "write and delete there (s3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role)"
        )
    if _UNREACHED.search(said):
        return RunError(
            f"{where}: the store cannot be reached ({_brief(said)}); look at the network and at "
            "endpoint_override"
        )
    if isinstance(error, ValueError):
        return InputError(f"{where}: no valid URI ({said}); write s3://bucket/folder")
    return RunError(f"{where}: {said}")


def _brief(said: str) -> str:
    """Return the code that an AWS error has, with what follows; or all that was said."""
    match = re.search(r"AWS Error (.*?)(?: \(Request ID.*)?$", said)
    return match.group(1) if match else said
