"""Files and folders in an object store, with the methods of `pathlib.Path` that runs need.

It knows paths and bytes, but no file formats.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from cephray.errors import InputError
from cephray.storage.arrow import connect, explain

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem


@dataclass(frozen=True, repr=False)
class RemotePath:
    """A file or folder in an object store.

    Methods with the name of a method of `pathlib.Path` behave like it. The store is contacted by
    the first call of such a method.

    Args:
        uri: URI with its query, as for `pyarrow.fs.FileSystem.from_uri`.

    Raises:
        InputError: By all methods, if the scheme is unknown, the bucket does not exist, or
            permission is denied.
        RunError: By all methods, if the store cannot be reached or answers with another error.

    Example:
        >>> str(RemotePath("s3://bucket/run?region=eu-west-1") / "history.csv")
        's3://bucket/run/history.csv?region=eu-west-1'
    """

    uri: str

    def __truediv__(self, name: str) -> RemotePath:
        """Return the path of a file or folder in this folder."""
        return self._at(f"{urlsplit(self.uri).path.rstrip('/')}/{quote(name)}")

    def __str__(self) -> str:
        """Return the URI without credentials."""
        shown = re.sub(r"//[^/?@]*:[^/?@]*@", "//", self.uri)
        return re.sub(r"(?i)(\w*(?:key|secret|token)\w*)=[^&]*", r"\1=…", shown)

    __repr__ = __str__

    @property
    def name(self) -> str:
        """Last part of the path. It is empty if the URI is that of a bucket."""
        return unquote(urlsplit(self.uri).path.rstrip("/").rpartition("/")[2])

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The end of the name from its last dot on, or nothing."""
        return PurePosixPath(self.name).suffix

    def with_name(self, name: str) -> RemotePath:
        """Return the path with another name in the same folder."""
        return self.parent / name

    def relative_to(self, folder: RemotePath) -> PurePosixPath:
        """Return the path from a folder that contains this file or folder."""
        return self._path.relative_to(folder._path)

    def is_relative_to(self, folder: RemotePath) -> bool:
        """Return whether this is a folder or what it contains, however they are quoted."""
        return self._at("") == folder._at("") and self._path.is_relative_to(folder._path)

    def absolute(self) -> RemotePath:
        """Return the path itself: it is the same for every process."""
        return self

    def resolve(self) -> RemotePath:
        """Return the path itself: it follows no links."""
        return self

    @property
    def parent(self) -> RemotePath:
        """The folder that contains this file or folder."""
        return self._at(urlsplit(self.uri).path.rstrip("/").rpartition("/")[0])

    @property
    def in_store(self) -> tuple[FileSystem, str]:
        """The store, and the path of this file or folder in it, starting with the bucket."""
        if not urlsplit(self.uri).netloc:
            raise InputError(f"{self}: the bucket is missing; write it like s3://bucket/folder")
        with self._explained():
            system, bucket = connect(self._at("").uri)
        path = unquote(urlsplit(self.uri).path).strip("/")
        return system, f"{bucket}/{path}".rstrip("/")

    def exists(self) -> bool:
        """Return whether this file or folder exists."""
        return self.is_dir() or self.is_file()

    def is_dir(self) -> bool:
        """Return whether this is a folder. A folder that contains a file needs no marker."""
        return bool(self._info().type.name == "Directory")

    def is_file(self) -> bool:
        """Return whether this is a file."""
        return bool(self._info().type.name == "File")

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return int(self._info().size or 0)

    @property
    def state(self) -> str:
        """Size and time of the last change, which differ if the file was replaced."""
        info = self._info()
        return f"{info.size} {info.mtime_ns}"

    def iterdir(self) -> Iterator[RemotePath]:
        """List the files and folders in this folder."""
        from pyarrow.fs import FileSelector

        system, path = self.in_store
        with self._explained():
            found = system.get_file_info(FileSelector(path, allow_not_found=True))
        return iter([self / info.base_name for info in found])

    def files(self, recursive: bool = False) -> list[RemotePath]:
        """List the files in this folder, sorted; the whole listing takes a single request.

        Args:
            recursive: list those in its sub-folders as well.
        """
        from pyarrow.fs import FileSelector

        system, path = self.in_store
        selector = FileSelector(path, allow_not_found=True, recursive=recursive)
        with self._explained():
            found = system.get_file_info(selector)
        inside = (PurePosixPath(info.path).relative_to(path) for info in found if info.is_file)
        return [self / one.as_posix() for one in sorted(inside)]

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """List the files below this folder whose relative path matches a pattern."""
        depth = len(PurePosixPath(pattern).parts)
        inside = ((file, file.relative_to(self)) for file in self.files(recursive=True))
        return iter([f for f, path in inside if len(path.parts) == depth and path.match(pattern)])

    def mkdir(self, parents: bool = True, exist_ok: bool = True) -> None:
        """Create the folder. Most stores create a marker for it."""
        system, path = self.in_store
        with self._explained():
            system.create_dir(path, recursive=parents)

    def read_bytes(self, count: int | None = None) -> bytes:
        """Read a file.

        Args:
            count: number of bytes to read from its start. If None, all are read.

        Raises:
            FileNotFoundError: If the file does not exist.
        """
        system, path = self.in_store
        with self._explained(), system.open_input_stream(path) as stream:
            return bytes(stream.read(count))

    def read_text(self, encoding: str = "utf-8") -> str:
        """Read a whole text file.

        Raises:
            FileNotFoundError: If the file does not exist.
        """
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        """Write a whole file atomically. If this fails, an earlier file is kept."""
        system, path = self.in_store
        with self._explained(), system.open_output_stream(path) as stream:
            stream.write(content)

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Write a whole text file atomically. If this fails, an earlier file is kept."""
        self.write_bytes(text.encode(encoding))

    def unlink(self) -> None:
        """Delete the file."""
        system, path = self.in_store
        with self._explained():
            system.delete_file(path)

    def rmtree(self) -> None:
        """Delete the folder and its content."""
        system, path = self.in_store
        with self._explained():
            system.delete_dir(path)

    def upload(self, folder: Path) -> None:
        """Copy the content of a local folder into this folder. Existing files are replaced."""
        from pyarrow.fs import LocalFileSystem, copy_files

        system, path = self.in_store
        with self._explained():
            # A single thread, since uploads in several can hang (apache/arrow, issue 32372).
            copy_files(str(folder), path, LocalFileSystem(), system, use_threads=False)

    def download(self, target: Path) -> None:
        """Copy this file to a local file."""
        from pyarrow.fs import LocalFileSystem, copy_files

        system, path = self.in_store
        with self._explained():
            copy_files(path, str(target), system, LocalFileSystem())

    @property
    def _path(self) -> PurePosixPath:
        return PurePosixPath(unquote(urlsplit(self.uri).path))

    def _info(self) -> FileInfo:
        system, path = self.in_store
        with self._explained():
            return system.get_file_info(path)

    def _at(self, path: str) -> RemotePath:
        return RemotePath(urlsplit(self.uri)._replace(path=path).geturl())

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn errors of the store into errors with a one-line message."""
        try:
            yield
        except FileNotFoundError:
            raise
        except (OSError, ValueError, NotImplementedError) as error:
            if isinstance(error, InputError):
                raise
            raise explain(str(self), self.uri, error) from error
