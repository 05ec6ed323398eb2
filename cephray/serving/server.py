"""What the routes of the server share: cases, replicas, limits, and how many films wait."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field

from fastapi import Request

from cephray.clinical import Analysis
from cephray.data import Original
from cephray.errors import InputError
from cephray.serving.bodies import read_body
from cephray.serving.case import Found
from cephray.serving.cases import CaseFolder
from cephray.serving.gauges import Gauges
from cephray.serving.pool import BusyError, Pool
from cephray.serving.replica import Network
from cephray.serving.teaching import Teaching
from cephray.serving.uploads import Limits, film_of


@dataclass(eq=False)
class Server:
    """What the routes share.

    Args:
        cases: the folder of cases.
        pool: the replicas.
        teaching: the checkpoints that were taught.
        given: the network that the command was given.
        limits: of what is taken.
        spacing_mm: millimetres per pixel of films that do not know their own, or None.
        analyses: of the user, beside those of cephray.
    """

    cases: CaseFolder
    pool: Pool
    teaching: Teaching
    given: Network
    limits: Limits
    spacing_mm: float | None = None
    analyses: tuple[Analysis, ...] = ()
    gauges: Gauges = field(default_factory=Gauges)
    waiting: int = 0
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def read(self, content: bytes, spacing_mm: float | None) -> Original:
        """Read a film.

        Args:
            content: of the film's file.
            spacing_mm: millimetres per pixel that were given with it, or None.

        Raises:
            InputError: the film or the spacing cannot be used.
        """
        if spacing_mm is not None and not 0 < spacing_mm < math.inf:
            raise InputError(f"spacing_mm must be above 0; got {spacing_mm:g}")
        return await asyncio.to_thread(film_of, content, self.limits)

    async def find(self, film: Original, spacing_mm: float | None) -> Found:
        """Find the landmarks of a film.

        Raises:
            BusyError: the network did not answer.
        """
        spacing_mm = self.spacing_mm if spacing_mm is None else spacing_mm
        begun = time.perf_counter()
        found = await self.pool.predict(film, spacing_mm, self.limits.seconds)
        self.gauges.seconds.observe(time.perf_counter() - begun)
        self.gauges.batch.observe(found["films"])
        return Found(found["facts"], found["checkpoint"])

    def enter(self) -> None:
        """Count a film that comes in.

        Raises:
            BusyError: there are too many.
        """
        if self.waiting >= self.limits.waiting:
            raise BusyError(
                f"{self.waiting} films are being predicted, and no more are taken now; try again"
            )
        self.waiting += 1
        self.gauges.waiting.set(self.waiting)

    def leave(self) -> None:
        """Count a film that is done."""
        self.waiting -= 1
        self.gauges.waiting.set(self.waiting)

    async def film(self, request: Request) -> bytes:
        """Read a film's bytes from a request."""
        return await read_body(request, int(self.limits.megabytes * 1e6), self.limits.seconds)

    async def choose(self, name: str | None) -> None:
        """Give the replicas a checkpoint that was taught, or the given one.

        Args:
            name: of the checkpoint, or None.

        Raises:
            InputError: there is none of this name.
            BusyError: another one is being loaded.
        """
        network = self.given
        if name is not None:
            folder = str(self.teaching.path(name).resolve())
            network = {**self.given, "name": name, "checkpoints": [folder]}
        if self.changing.locked():
            raise BusyError("another network is being loaded; try again in a minute")
        async with self.changing:
            await asyncio.to_thread(self.pool.start, network)
            self.teaching.choose(name)
