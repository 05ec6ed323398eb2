"""Links between processes of one machine, with the latency and the rate of a network.

A relay stands before each worker's port. It passes bytes on in both directions, each after a
latency, and no faster than a rate, which all connections to that worker share.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection

from cephray.benchmark.scaling.model import Link
from cephray.errors import RunError

HOST = "127.0.0.1"
_BLOCK_BYTES = 1 << 16
_AHEAD_S = 0.02  # how far bytes may be taken before the rate lets them go
_START_S = 60


@contextmanager
def relays(ports: Sequence[int], link: Link) -> Iterator[list[int]]:
    """Run a relay before each port, in a process of their own; yield the relays' ports.

    Args:
        ports: of 127.0.0.1; nothing needs to listen there yet.
        link: latency, and bytes a second in each direction of each port.

    Raises:
        RunError: the process did not start.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(list(ports), link, theirs), daemon=True)
    process.start()
    try:
        if not ours.poll(_START_S):
            raise RunError(f"the relays of the links did not start within {_START_S} s")
        yield ours.recv()
    finally:
        process.kill()
        process.join()


class Shaper:
    """One direction of a port: says when bytes arrive that are sent now.

    Args:
        link: latency and rate.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._free_s = 0.0

    def arrival_s(self, byte_count: int, now_s: float) -> float:
        """Return when so many bytes arrive, after all that were sent before."""
        self._free_s = max(self._free_s, now_s) + byte_count / self._link.bytes_per_s
        return self._free_s + self._link.latency_s

    def backlog_s(self, now_s: float) -> float:
        """Return for how long bytes that were sent keep the link busy."""
        return max(0.0, self._free_s - now_s)


def _serve(ports: list[int], link: Link, parent: Connection) -> None:
    async def serve() -> None:
        servers = [await _start(port, link) for port in ports]
        parent.send([server.sockets[0].getsockname()[1] for server in servers])
        await asyncio.gather(*(server.serve_forever() for server in servers))

    asyncio.run(serve())


async def _start(port: int, link: Link) -> asyncio.Server:
    """Start the relay before a port."""
    there, back = Shaper(link), Shaper(link)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target = await asyncio.open_connection(HOST, port)
        except OSError:  # nothing listens yet; the caller tries again
            writer.close()
            return
        await asyncio.gather(_pass(reader, target[1], there), _pass(target[0], writer, back))

    return await asyncio.start_server(connect, HOST, 0)


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, shaper: Shaper
) -> None:
    """Pass bytes on until one side ends."""
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def send() -> None:
        while True:
            arrival_s, block = await waiting.get()
            if not block:
                break
            await _sleep_until(arrival_s)
            writer.write(block)
            await writer.drain()

    sending = asyncio.ensure_future(send())
    try:
        while block := await reader.read(_BLOCK_BYTES):
            waiting.put_nowait((shaper.arrival_s(len(block), time.monotonic()), block))
            await _sleep_until(time.monotonic() + shaper.backlog_s(time.monotonic()) - _AHEAD_S)
        waiting.put_nowait((0.0, b""))
        await sending
    except OSError:  # a side is gone, and the other one hears of it below
        sending.cancel()
    finally:
        writer.close()


async def _sleep_until(time_s: float) -> None:
    left_s = time_s - time.monotonic()
    if left_s > 0:
        await asyncio.sleep(left_s)
