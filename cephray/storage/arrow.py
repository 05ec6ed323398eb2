"""Connections to object stores by pyarrow, with bounds on their waiting, and its errors explained.

pyarrow has no public way to change the bounds of a store that was opened by its URI, so this file
uses a private one. tests/storage/test_arrow.py says if that changes.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cephray.errors import InputError, RunError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

# An answer that does not come is asked for three times: half a minute, then one clear line.
CONNECT_TIMEOUT_S, REQUEST_TIMEOUT_S = 5, 10
GCS_RETRY_LIMIT_S = 30
_DENIED = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH|INVALID_CLIENT_TOKEN|EXPIRED_TOKEN"
    r"|PERMISSION_DENIED|UNAUTHENTICATED|AuthorizationFail|Forbidden|credentials",
    re.IGNORECASE,
)
_NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|Bucket '.*' not found|bucket does not exist|NOT_FOUND")
_UNREACHED = re.compile(r"NETWORK_CONNECTION|UNAVAILABLE|DEADLINE_EXCEEDED|timed? ?out|resolve")


@lru_cache(maxsize=16)
def connect(bucket_uri: str) -> tuple[FileSystem, str]:
    """Open a bucket's store with bounds on its waiting, and see that the bucket is there."""
    from pyarrow import fs

    system, bucket = fs.FileSystem.from_uri(bucket_uri)
    system = with_bounds(system)
    bucket = bucket.strip("/")
    # A store answers "nothing there" to a question within a bucket that is not there.
    if bucket and system.get_file_info(bucket).type == fs.FileType.NotFound:
        raise OSError(f"Bucket '{bucket}' not found")
    return system, bucket


def with_bounds(system: FileSystem) -> FileSystem:
    """Return a store of S3 or Google that gives up after a while; others as they are."""
    from pyarrow import fs

    if not isinstance(system, (fs.S3FileSystem, fs.GcsFileSystem)):
        return system
    # A URI cannot say all bounds; the parts that the store is pickled from can.
    settings: dict[str, Any] = system.__reduce__()[1][0]
    if isinstance(system, fs.S3FileSystem):
        settings |= {"connect_timeout": CONNECT_TIMEOUT_S, "request_timeout": REQUEST_TIMEOUT_S}
    else:
        limit = settings["retry_time_limit"]
        settings["retry_time_limit"] = limit or timedelta(seconds=GCS_RETRY_LIMIT_S)
    return type(system)._reconstruct(settings)


def explain(where: str, uri: str, error: Exception) -> InputError | RunError:
    """Return an error that says in one line what an object store answered, and what to do.

    Args:
        where: the place as shown to the user, without secrets.
        uri: of the place.
        error: raised by pyarrow.
    """
    said = (str(error).splitlines() or [type(error).__name__])[0]
    scheme = urlsplit(uri).scheme
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
