"""Connections to object stores through pyarrow, with timeouts, and explanations of its errors.

pyarrow has no public way to set all timeouts of a store that is opened by its URI. This module
therefore uses a private one, and tests/storage/test_arrow.py fails if pyarrow changes it.
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

# pyarrow sends a request up to three times, so that a silent store fails within half a minute.
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
    """Connect to the store of a bucket, with timeouts.

    Args:
        bucket_uri: URI of the bucket, without a path in it.

    Returns:
        The store, and the name of the bucket in it.

    Raises:
        OSError: If the bucket does not exist.
    """
    from pyarrow import fs

    system, bucket = fs.FileSystem.from_uri(bucket_uri)
    system = with_timeouts(system)
    bucket = bucket.strip("/")
    # Checked here, since a store answers requests in a missing bucket as if it were empty.
    if bucket and system.get_file_info(bucket).type == fs.FileType.NotFound:
        raise OSError(f"Bucket '{bucket}' not found")
    return system, bucket


def with_timeouts(system: FileSystem) -> FileSystem:
    """Return a copy of an S3 or Google Cloud store with timeouts. Other stores are unchanged."""
    from pyarrow import fs

    if not isinstance(system, (fs.S3FileSystem, fs.GcsFileSystem)):
        return system
    # A URI cannot set all timeouts, but the arguments that the store is pickled with can.
    settings: dict[str, Any] = system.__reduce__()[1][0]
    if isinstance(system, fs.S3FileSystem):
        settings |= {"connect_timeout": CONNECT_TIMEOUT_S, "request_timeout": REQUEST_TIMEOUT_S}
    else:
        limit = settings["retry_time_limit"]
        settings["retry_time_limit"] = limit or timedelta(seconds=GCS_RETRY_LIMIT_S)
    return type(system)._reconstruct(settings)


def explain(where: str, uri: str, error: Exception) -> InputError | RunError:
    """Turn an error of pyarrow into an error with a one-line message for the user.

    Args:
        where: the location as shown to the user, without secrets.
        uri: URI of the location.
        error: error raised by pyarrow.

    Returns:
        An error that names the location, the answer of the store, and the cure.
    """
    said = (str(error).splitlines() or [type(error).__name__])[0]
    scheme = urlsplit(uri).scheme
    if "Unrecognized filesystem" in said:
        return InputError(
            f"{where}: unknown scheme {scheme!r}; give a local folder, or a URI that starts with "
            "s3://, gs://, abfs:// or hdfs://"
        )
    if _NO_BUCKET.search(said):
        return InputError(
            f"{where}: there is no such bucket; create it, or check its name, the region and "
            "endpoint_override"
        )
    if _DENIED.search(said):
        return InputError(
            f"{where}: permission denied ({_brief(said)}); provide credentials that allow to "
            "list, read, write and delete there (s3: AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or a role)"
        )
    if _UNREACHED.search(said):
        return RunError(
            f"{where}: the store cannot be reached ({_brief(said)}); check the network and "
            "endpoint_override"
        )
    if isinstance(error, ValueError):
        return InputError(f"{where}: invalid URI ({said}); write it like s3://bucket/folder")
    return RunError(f"{where}: {said}")


def _brief(said: str) -> str:
    """Return an AWS error from its code onwards, or the whole text of other errors."""
    match = re.search(r"AWS Error (.*?)(?: \(Request ID.*)?$", said)
    return match.group(1) if match else said
