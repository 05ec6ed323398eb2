"""A file or folder in an object store, with those methods of `pathlib.Path` that a run needs.

It knows paths and bytes, and nothing of what the files hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from cephray.errors import InputError
from cephray.storage.arrow import connect, explain

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem


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
            system, bucket = connect(self._at("").uri)
        path = unquote(urlsplit(self.uri).path).strip("/")
        return system, f"{bucket}/{path}".rstrip("/")

    def exists(self) -> bool:
        """Return whether there is a file or folder of this name."""
        return self.is_dir() or self.is_file()

    def is_dir(self) -> bool:
        """Return whether this is a folder; one that holds a file is one, marked as such or not."""
        return bool(self._info().type.name == "Directory")

    def is_file(self) -> bool:
        """Return whether this is a file."""
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
            raise explain(str(self), self.uri, error) from error
