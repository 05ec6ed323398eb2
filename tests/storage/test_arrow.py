"""Tests what cephray expects of the private parts of pyarrow. A failure says what changed."""

from __future__ import annotations

import inspect
from datetime import timedelta

import pytest
from pyarrow import fs

from cephray.errors import InputError, RunError
from cephray.storage import arrow


@pytest.mark.parametrize(
    ("system", "timeouts"),
    [
        (
            lambda: fs.S3FileSystem(anonymous=True, region="eu-west-1"),
            {"connect_timeout": 5, "request_timeout": 10},
        ),
        (
            lambda: fs.GcsFileSystem(anonymous=True),
            {"retry_time_limit": timedelta(seconds=30)},
        ),
    ],
)
def test_a_store_can_be_rebuilt_with_timeouts(system: object, timeouts: dict[str, object]) -> None:
    """A store is pickled with its settings, and can be built from them."""
    store = system()  # type: ignore[operator]
    settings = store.__reduce__()[1][0]
    assert set(timeouts) <= set(settings), f"{type(store).__name__} no longer pickles its settings"
    rebuilt = arrow.with_timeouts(store)
    assert type(rebuilt) is type(store)
    kept = rebuilt.__reduce__()[1][0]
    assert {name: kept[name] for name in timeouts} == timeouts
    others = set(settings) - set(timeouts)
    assert {name: kept[name] for name in others} == {name: settings[name] for name in others}


def test_other_stores_are_unchanged() -> None:
    local = fs.LocalFileSystem()
    assert arrow.with_timeouts(local) is local


def test_uploads_can_use_a_single_thread() -> None:
    assert "use_threads" in inspect.signature(fs.copy_files).parameters


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("Unrecognized filesystem type in URI", InputError, "unknown scheme 's3'"),
        ("When listing: Bucket 'x' not found", InputError, "no such bucket"),
        ("AWS Error ACCESS_DENIED during HeadObject", InputError, "permission denied"),
        ("AWS Error NETWORK_CONNECTION during", RunError, "cannot be reached"),
        ("AWS Error SLOW_DOWN: try later", RunError, "SLOW_DOWN: try later"),
    ],
)
def test_errors_are_one_line(said: str, kind: type[Exception], words: str) -> None:
    error = arrow.explain("s3://x/run", "s3://x/run", OSError(f"{said}\nmore"))
    assert type(error) is kind
    assert words in str(error)
    assert "\n" not in str(error)
