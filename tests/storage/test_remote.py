"""Tests remote files and folders against a local S3 server, and the messages of failures."""

from __future__ import annotations

import hashlib
import os
import pickle
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cephray.errors import InputError, RunError
from cephray.storage.location import fetch_verified, place
from cephray.storage.remote import RemotePath
from tests.conftest import Store


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def silent() -> Iterator[str]:
    """Yield the address of a port that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1%3A{listener.getsockname()[1]}"


def test_paths_and_uris_are_distinguished() -> None:
    assert place("runs/a") == Path("runs/a")
    assert place("file:///runs/a%20b") == Path("/runs/a b")
    assert place("s3://bucket/run") == RemotePath("s3://bucket/run")
    run = RemotePath("s3://bucket/runs/a?region=eu-west-1")
    assert (run.name, run.parent.name, run.parent.parent.name) == ("a", "runs", "")
    assert str(run / "history.csv") == "s3://bucket/runs/a/history.csv?region=eu-west-1"


def test_secrets_are_not_shown() -> None:
    shown = str(RemotePath("s3://AKIA:hush@bucket/run?secret_key=hush&scheme=http"))
    assert shown == "s3://bucket/run?secret_key=…&scheme=http"
    assert repr(RemotePath("s3://AKIA:hush@bucket/run")) == "s3://bucket/run"


def test_remote_files_and_folders_behave_like_local_ones(store: Store, tmp_path: Path) -> None:
    run = place(store.uri("files/run"))
    assert isinstance(run, RemotePath)
    assert not run.exists()
    assert list(run.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        (run / "config.yaml").read_text()
    (run / "config.yaml").write_text("größer")
    assert (run / "config.yaml").read_text() == "größer"
    assert (run / "config.yaml").size == 8
    assert run.is_dir()
    assert (run / "config.yaml").is_file()
    (tmp_path / "up/deep").mkdir(parents=True)
    (tmp_path / "up/deep/a.txt").write_text("a")
    run.upload(tmp_path / "up")
    assert sorted(p.name for p in run.iterdir()) == ["config.yaml", "deep"]
    assert list(run.glob("*/a.txt")) == [run / "deep" / "a.txt"]
    assert list(run.glob("a.txt")) == []
    again = pickle.loads(pickle.dumps(run))
    (again / "config.yaml").unlink()
    assert not (run / "config.yaml").exists()


def test_a_file_is_downloaded_once_and_verified_on_each_use(store: Store) -> None:
    file = RemotePath(store.uri("fetch/weights"))
    file.write_text("weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    copy = fetch_verified(file, sha256)
    file.unlink()
    assert fetch_verified(file, sha256) == copy
    assert copy.stat().st_uid == os.getuid()
    assert copy.parent.stat().st_mode & 0o077 == 0
    copy.write_text("tampered")
    with pytest.raises(FileNotFoundError):
        fetch_verified(file, sha256)
    file.write_text("tampered")
    with pytest.raises(InputError, match=r"fetch/weights.* was changed after it was written"):
        fetch_verified(file, sha256)
    with pytest.raises(InputError, match="is not a SHA-256 digest"):
        fetch_verified(file, "../../weights")


def test_copies_that_were_not_used_for_a_day_are_removed(store: Store) -> None:
    copies = []
    for text in ("old", "new"):
        file = RemotePath(store.uri(f"unused/{text}"))
        file.write_text(text)
        copies.append(fetch_verified(file, hashlib.sha256(text.encode()).hexdigest()))
        os.utime(copies[-1], (0, 0))
    assert [copy.exists() for copy in copies] == [False, True]


@pytest.mark.parametrize(
    ("uri", "error", "words"),
    [
        ("ftp://host/run", InputError, r"unknown scheme 'ftp'; give .* s3://, gs://"),
        ("s3:/bucket/run", InputError, r"the bucket is missing; write it like s3://bucket/folder"),
        ("s3://bucket/run?colour=red", InputError, r"invalid URI \(Unexpected query"),
        ("s3://bucket/run?scheme=http&endpoint_override=127.0.0.1%3A1", RunError,
         r"cannot be reached \(NETWORK_CONNECTION .*Could not connect"),
    ],
)  # fmt: skip
def test_locations_that_cannot_be_opened_give_one_line_quickly(
    uri: str, error: type[Exception], words: str
) -> None:
    started = time.monotonic()
    with pytest.raises(error, match=words) as caught:
        RemotePath(uri).exists()
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 20


def test_a_store_that_never_answers_is_an_error(
    silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cephray.storage.arrow.REQUEST_TIMEOUT_S", 1)
    started = time.monotonic()
    with pytest.raises(RunError, match="cannot be reached"):
        RemotePath(f"s3://bucket/run?scheme=http&endpoint_override={silent}").exists()
    assert time.monotonic() - started < 20


def test_a_missing_bucket_is_an_error(store: Store) -> None:
    elsewhere = RemotePath(store.uri("run").replace(store.bucket, "nowhere"))
    for use in (elsewhere.exists, elsewhere.iterdir, elsewhere.mkdir):
        with pytest.raises(InputError, match=r"nowhere/run.*: there is no such bucket; create it"):
            use()


def test_denied_permission_is_an_error(store: Store) -> None:
    run = RemotePath(store.uri("run"))
    run.mkdir()
    with store.closed():
        with pytest.raises(InputError, match=r"run.*: permission denied \(\w+.*\); provide cred"):
            list(run.iterdir())
        with pytest.raises(InputError, match="permission denied"):
            (run / "config.yaml").write_text("")
