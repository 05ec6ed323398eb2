"""The page as a person uses it, for tests in a real browser."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from tests.serving.server import (
    draw,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

FILM, POINTS = draw(3)
OTHER, OTHER_POINTS = draw(4)
A_POINT, B_POINT, SELLA, NASION = 4, 5, 0, 1

DROP = """async ([files]) => {
  const transfer = new DataTransfer();
  for (const [name, content] of files) {
    const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type: "image/png" }));
  }
  document.querySelector("#stage").dispatchEvent(
    new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


class Desk:
    """The page, and what a person does with it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.requests: list[str] = []
        self.faults: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on(
            "console",
            lambda said: self.faults.append(said.text) if said.type == "error" else None,
        )

    def load(self, case: str = "") -> None:
        self.page.goto("about:blank")
        self.page.goto(f"{self.address}/#{case}")
        self.page.wait_for_selector("body[data-ready]")

    def drop(self, *files: tuple[str, bytes]) -> None:
        content = [[name, base64.b64encode(film).decode()] for name, film in files]
        self.page.evaluate(DROP, [content])

    def point(self, index: int) -> Any:
        return self.page.locator(f"#marks g.point[data-index='{index}']")

    def place(self, index: int) -> tuple[float, float]:
        """Return the place of a point on the screen."""
        box = self.point(index).locator(".dot").bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def drag(self, index: int, dx: float, dy: float, steps: int = 5) -> None:
        x, y = self.place(index)
        mouse = self.page.mouse
        mouse.move(x, y)
        mouse.down()
        mouse.move(x + dx, y + dy, steps=steps)
        mouse.up()

    def value(self, name: str, analysis: str = "isbi2015") -> float:
        row = self.page.locator(f"table[data-analysis='{analysis}'] tbody tr").filter(
            has=self.page.get_by_role("rowheader", name=name, exact=True)
        )
        text = row.locator("td").first.inner_text()
        return float(re.sub(r"[^0-9.−]", "", text).replace("−", "-"))

    def saved(self) -> None:
        self.page.get_by_text("Saved", exact=True).wait_for()

    def case(self) -> dict[str, Any]:
        self.saved()
        name = self.page.url.partition("#")[2]
        answer = self.page.request.get(f"{self.address}/api/cases/{name}")
        case: dict[str, Any] = answer.json()
        return case
