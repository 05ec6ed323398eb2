"""Links of a given latency and rate, between sockets of this machine."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from cephray.benchmark.scaling.link import HOST, Shaper, relays
from cephray.benchmark.scaling.model import Link

LINK = Link(latency_s=0.03, bytes_per_s=4e6)


@contextmanager
def echo() -> Iterator[int]:
    """Send back what comes; yield the port."""
    with closing(socket.create_server((HOST, 0))) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with closing(connection):
                while block := connection.recv(1 << 16):
                    connection.sendall(block)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def send_and_receive(connection: socket.socket, content: bytes) -> tuple[bytes, float]:
    """Return what came back, and the seconds until it was there."""
    begin = time.perf_counter()
    threading.Thread(target=connection.sendall, args=(content,), daemon=True).start()
    received = b""
    while len(received) < len(content):
        received += connection.recv(1 << 16)
    return received, time.perf_counter() - begin


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with echo() as behind, relays([behind], LINK) as before:
        yield before[0]


def test_a_byte_takes_the_latency_there_and_back(port: int) -> None:
    with socket.create_connection((HOST, port), timeout=10) as connection:
        times = [send_and_receive(connection, b"x")[1] for _ in range(5)]
    assert min(times) >= 2 * LINK.latency_s
    assert min(times) < 3 * LINK.latency_s


def test_bytes_arrive_whole_and_no_faster_than_the_rate(port: int) -> None:
    content = bytes(range(256)) * 8192  # 2 MiB
    with socket.create_connection((HOST, port), timeout=10) as connection:
        received, seconds = send_and_receive(connection, content)
    assert received == content
    least_s = len(content) / LINK.bytes_per_s + 2 * LINK.latency_s  # both ways at the same time
    assert 0.98 * least_s < seconds < 1.5 * least_s


def test_connections_share_the_rate(port: int) -> None:
    content = bytes(1 << 20)
    times: list[float] = []

    def run() -> None:
        with socket.create_connection((HOST, port), timeout=10) as connection:
            times.append(send_and_receive(connection, content)[1])

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(times) > 0.98 * 2 * len(content) / LINK.bytes_per_s


def test_a_port_where_nobody_listens_yet_closes_the_connection() -> None:
    with closing(socket.create_server((HOST, 0))) as listener:
        unused = listener.getsockname()[1]
    with (
        relays([unused], LINK) as before,
        socket.create_connection((HOST, before[0]), timeout=10) as connection,
    ):
        assert connection.recv(1) == b""


def test_bytes_wait_for_those_before_them() -> None:
    shaper = Shaper(Link(latency_s=1.0, bytes_per_s=10.0))
    assert shaper.arrival_s(20, now_s=0.0) == 3.0
    assert shaper.arrival_s(10, now_s=1.0) == 4.0
    assert shaper.backlog_s(1.0) == 2.0
    assert shaper.arrival_s(10, now_s=9.0) == 11.0
    assert shaper.backlog_s(20.0) == 0.0
