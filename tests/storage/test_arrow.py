"""What cephray expects of pyarrow's private parts; a failure says what changed."""

from __future__ import annotations

import inspect
from datetime import timedelta

import pytest
from pyarrow import fs

from cephray.errors import InputError, RunError
from cephray.storage import arrow


@pytest.mark.parametrize(
    ("system", "bounds"),
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
def test_a_store_can_be_made_anew_with_bounds(system: object, bounds: dict[str, object]) -> None:
    """Its settings are the arguments that it is pickled with, and it takes them back."""
    store = system()  # type: ignore[operator]
    settings = store.__reduce__()[1][0]
    assert set(bounds) <= set(settings), f"{type(store).__name__} no longer pickles its settings"
    bounded = arrow.with_bounds(store)
    assert type(bounded) is type(store)
    kept = bounded.__reduce__()[1][0]
    assert {name: kept[name] for name in bounds} == bounds
    others = set(settings) - set(bounds)
    assert {name: kept[name] for name in others} == {name: settings[name] for name in others}


def test_other_stores_stay_as_they_are() -> None:
    local = fs.LocalFileSystem()
    assert arrow.with_bounds(local) is local


def test_one_thread_can_be_asked_for() -> None:
    assert "use_threads" in inspect.signature(fs.copy_files).parameters


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("Unrecognized filesystem type in URI", InputError, "unknown scheme 's3'"),
        ("When listing: Bucket 'x' not found", InputError, "no such bucket"),
        ("AWS Error ACCESS_DENIED during HeadObject", InputError, "no permission"),
        ("AWS Error NETWORK_CONNECTION during", RunError, "cannot be reached"),
        ("AWS Error SLOW_DOWN: try later", RunError, "SLOW_DOWN: try later"),
    ],
)
def test_errors_are_one_line(said: str, kind: type[Exception], words: str) -> None:
    error = arrow.explain("s3://x/run", "s3://x/run", OSError(f"{said}\nmore"))
    assert type(error) is kind
    assert words in str(error)
    assert "\n" not in str(error)
