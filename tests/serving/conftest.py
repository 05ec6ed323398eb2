"""A real browser, and the page in it, for the tests of the page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cephray.serving.case import Found
from cephray.serving.cases import Pictures
from cephray.serving.server import Server
from tests.serving.desk import FILM, OTHER, OTHER_POINTS, POINTS, Desk
from tests.serving.server import (
    SPACING_MM,
    KnowingPool,
    facts,
    make_server,
    serving,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Chromium; skip where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium on this machine (`apt-get install chromium`)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's own sandbox does not work for the root user, as in containers.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        started = playwright.chromium.launch(executable_path=program, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Return the server that all tests of a file share."""
    server = make_server(tmp_path_factory.mktemp("served") / "cases", spacing=SPACING_MM)
    assert isinstance(server.pool, KnowingPool)
    server.pool.teach(FILM, POINTS)
    server.pool.teach(OTHER, OTHER_POINTS)
    return server


@pytest.fixture(scope="module")
def address(films: Server) -> Iterator[str]:
    with serving(films) as address:
        yield address


@pytest.fixture
def add(films: Server) -> Iterator[Callable[..., dict[str, Any]]]:
    """Add cases without the page; all cases are removed after the test."""

    def add_case(
        title: str, film: bytes, points: NDArray[np.float64], **more: Any
    ) -> dict[str, Any]:
        from cephray.data import cv2

        image = cv2.imdecode(np.frombuffer(film, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert image is not None
        found = Found(facts(points, size_px=(image.shape[1], image.shape[0]), **more), "included")
        return films.cases.add(title, Pictures.of(image), found)

    yield add_case
    for name in films.cases.names():
        films.cases.remove(name)


@pytest.fixture
def desk(browser: Browser, address: str, add: Callable[..., dict[str, Any]]) -> Iterator[Desk]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    made = Desk(context.new_page(), address)
    yield made
    context.close()
    assert made.faults == []
    assert {url for url in made.requests if not url.startswith((address, "blob:", "about:"))} == {
        url for url in made.requests if url.startswith("data:")
    }


@pytest.fixture
def opened(desk: Desk, add: Callable[..., dict[str, Any]]) -> Desk:
    """Return the page with a film open."""
    add("one.png", FILM, POINTS)
    desk.load()
    desk.point(0).wait_for()
    return desk
