"""A server in this process, with a pool that knows the drawn films' truth instead of a network.

What needs a network and Ray Serve is in `test_running.py`.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cephray.clinical import Analysis
from cephray.data import Original, cv2
from cephray.data.synthetic.draw import draw_film, spacing_mm
from cephray.landmarks import ISBI2015
from cephray.serving.cases import CaseFolder
from cephray.serving.pool import Pool
from cephray.serving.replica import Network
from cephray.serving.running import http_server
from cephray.serving.server import Server
from cephray.serving.teaching import Teaching
from cephray.serving.uploads import Limits

SIZE_PX = (484, 600)
SPACING_MM = spacing_mm(SIZE_PX)
OURS = """
name: ours
title: Our clinic
source: measured here
measures:
  - {name: S-Go, title: posterior facial height, unit: mm, construction: length, points: [S, Go]}
"""  # an analysis of the user
NETWORK: Network = {"name": "included", "checkpoints": None, "overrides": []}


def draw(number: int, size_px: tuple[int, int] = SIZE_PX) -> tuple[bytes, NDArray[np.float64]]:
    """Draw a film; return its PNG file and its landmarks [K, 2], pixels."""
    image, points = draw_film(np.random.default_rng(number), size_px)
    return cv2.imencode(".png", image)[1].tobytes(), points


def facts(
    points: Sequence[Sequence[float]] | NDArray[np.float64],
    spacing: float | None = SPACING_MM,
    size_px: tuple[int, int] = SIZE_PX,
    doubtful: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what a network would say of a film with these landmarks."""
    return {
        "film": "film 1",
        "size_px": list(size_px),
        "spacing_mm": spacing,
        "spacing_source": None if spacing is None else "--spacing",
        "resampled_from_px": None,
        "orientation": {"turned_deg": 0, "mirrored": False, "inverted": False},
        "notes": [],
        "doubtful": list(doubtful),
        "landmarks": [
            {
                "name": name,
                "x_px": round(float(x), 2),
                "y_px": round(float(y), 2),
                "confidence": round(0.99 - 0.03 * number, 3),
                "radius_95_px": 3.0 + number,
            }
            for number, (name, (x, y)) in enumerate(zip(ISBI2015.names, points, strict=True))
        ],
        "measurements": [],
    }


class KnowingPool(Pool):
    """A pool that knows the landmarks of some films by their pixels."""

    def __init__(self, replicas: int = 1) -> None:
        super().__init__(replicas)
        self.network = NETWORK
        self.known: dict[bytes, NDArray[np.float64]] = {}
        self.wait = threading.Event()
        self.wait.set()
        self.started: list[Network] = []

    def teach(self, film: bytes, points: NDArray[np.float64]) -> None:
        image = cv2.imdecode(np.frombuffer(film, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert image is not None
        self.known[image.tobytes()] = points

    def start(self, network: Network) -> None:
        self.started.append(network)
        self.network = network

    async def predict(
        self, film: Original, spacing_mm: float | None, seconds: float
    ) -> dict[str, Any]:
        import asyncio

        await asyncio.to_thread(self.wait.wait, 60)
        points = self.known.get(film.image.tobytes())
        height, width = film.image.shape
        if points is None:
            points = np.tile([width / 2, height / 2], (len(ISBI2015), 1))
        spacing = film.spacing_mm or spacing_mm
        assert self.network is not None
        return {
            "facts": facts(points, spacing, (width, height)),
            "checkpoint": self.network["name"],
            "films": 1,
        }

    def running(self) -> int:
        return self.replicas


def make_server(
    folder: Path,
    limits: Limits | None = None,
    spacing: float | None = None,
    analyses: tuple[Analysis, ...] = (),
) -> Server:
    cases = CaseFolder(folder, ISBI2015)
    teaching = Teaching(cases)
    return Server(cases, KnowingPool(), teaching, NETWORK, limits or Limits(), spacing, analyses)


@contextmanager
def serving(server: Server, token: str | None = None) -> Iterator[str]:
    """Serve in a thread; yield the address."""
    http = http_server(server, token)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=http.run, args=([listener],), daemon=True)
        thread.start()
        deadline = time.monotonic() + 30
        while not http.started and time.monotonic() < deadline:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        http.should_exit = True
        thread.join(10)
    server.cases.close()
