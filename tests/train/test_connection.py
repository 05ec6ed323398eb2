from __future__ import annotations

import socket
import time

import pytest
import ray

from cephray.errors import RunError
from cephray.train.connection import connected


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nothing_listens(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    started = time.monotonic()
    with (
        pytest.raises(RunError, match=f"no Ray cluster answers at RAY_ADDRESS={address} .*unset"),
        connected(False, print),
    ):
        pass
    assert time.monotonic() - started < 15
    assert not ray.is_initialized()


def test_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:port")
    with pytest.raises(RunError, match="RAY_ADDRESS=head:port"), connected(False, print):
        pass


def test_what_ray_raises_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**settings: object) -> None:
        raise Exception("The current node\ntimed out")

    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setattr(ray, "init", init)
    with (
        pytest.raises(RunError, match=r"Ray could not be started .*: The current node timed out"),
        connected(False, print),
    ):
        pass
