"""The HTTP server with real sockets: silent and broken clients, crowds, and its end."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from cephray.serving import connections
from cephray.serving.running import http_server
from cephray.serving.server import Server
from cephray.serving.uploads import Limits
from tests.serving.server import KnowingPool, draw, make_server, serving

FILM, _ = draw(1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = make_server(tmp_path / "cases", Limits(waiting=2))
    yield made
    made.cases.close()


def connect(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def rest(connection: socket.socket) -> bytes:
    """Return what comes until the server closes a connection."""
    with connection, connection.makefile("rb") as file:
        return file.read()


@pytest.mark.parametrize(
    "sent",
    [b"\x16\x03\x01\x02\x00\x01", b"SSH-2.0-x\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
     b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000],
)  # fmt: skip
def test_what_is_no_http_is_refused_in_a_sentence(sent: bytes, server: Server) -> None:
    with serving(server) as address:
        connection = connect(address)
        connection.sendall(sent)
        head, _, body = rest(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert json.loads(body) == {"error": "this is no HTTP request, or its head is too long"}
        with urlopen(f"{address}/health", timeout=20) as answer:
            assert answer.status == 200


def test_a_connection_that_asks_nothing_is_closed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.8)
    with serving(server) as address:
        silent, half, second, slow = (connect(address) for _ in range(4))
        half.sendall(b"GET / HTTP/1.1\r\nHo")
        ask = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        second.sendall(ask + b"\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += second.recv(4096)
        assert b" 200 " in answer
        second.sendall(ask)  # half of another
        slow.sendall(
            b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % len(FILM)
        )
        assert rest(silent) == rest(half) == b""
        assert b"HTTP/1.1" not in rest(second)
        time.sleep(1)
        slow.sendall(FILM)  # its head came in time
        assert b"200 OK" in rest(slow)


def test_a_crowd_is_answered_or_refused_in_json(server: Server) -> None:
    """Of 200 clients at a time, each gets a film's landmarks or a sentence."""

    def ask(_: int) -> tuple[int, dict[str, Any]]:
        try:
            with urlopen(Request(f"{address}/predict", FILM), timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    with serving(server) as address, ThreadPoolExecutor(200) as clients:
        answers = list(clients.map(ask, range(200)))
        assert {status for status, _ in answers} == {200, 503}
        assert {tuple(said) for status, said in answers if status == 503} == {("error",)}
        assert ask(0)[0] == 200


def test_requests_in_flight_are_answered_when_the_server_ends(server: Server) -> None:
    def ask() -> int:
        with urlopen(Request(f"{address}/predict", FILM), timeout=20) as answer:
            return int(answer.status)

    pool = server.pool
    assert isinstance(pool, KnowingPool)
    pool.wait.clear()
    http = http_server(server, None)
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as client:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=http.run, args=([listener],), daemon=True)
        thread.start()
        asking = client.submit(ask)
        while not server.waiting:
            time.sleep(0.01)
        http.should_exit = True
        time.sleep(0.5)
        assert thread.is_alive()
        pool.wait.set()
        assert asking.result() == 200
        thread.join(20)
        assert not thread.is_alive()
