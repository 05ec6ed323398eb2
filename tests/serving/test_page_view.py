"""The page in a real browser: how films and points are shown, on screens of any size."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cephray.landmarks import ISBI2015
from cephray.serving.case import points_of
from tests.serving.server import (
    draw,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser

from tests.serving.desk import A_POINT, FILM, NASION, OTHER, OTHER_POINTS, POINTS, SELLA, Desk


def test_the_view_zooms_at_the_cursor_and_pans(opened: Desk) -> None:
    x, y = opened.place(NASION)
    far = opened.place(SELLA)
    opened.page.mouse.move(x, y)
    opened.page.mouse.wheel(0, -600)
    opened.page.wait_for_timeout(100)
    # The cursor is on a whole pixel, up to one beside the point.
    assert opened.place(NASION) == pytest.approx((x, y), abs=1.6)
    zoomed = opened.place(SELLA)
    assert abs(zoomed[0] - x) > 1.8 * abs(far[0] - x)
    box = opened.point(NASION).locator(".dot").bounding_box()
    assert box["width"] < 12  # markers keep their size
    opened.page.mouse.move(x + 60, y + 60)
    opened.page.mouse.down()
    opened.page.mouse.move(x + 90, y + 40)
    opened.page.mouse.up()
    assert opened.place(NASION) == pytest.approx((x + 30, y - 20), abs=1.6)
    opened.page.get_by_role("button", name="Fit").click()
    assert opened.place(SELLA) == pytest.approx(far, abs=0.6)


def test_the_magnifier_is_in_another_corner(opened: Desk) -> None:
    for index in (SELLA, 15, 18):
        x, y = opened.place(index)
        opened.page.mouse.move(x, y)
        opened.page.mouse.down()
        opened.page.mouse.move(x + 2, y + 2)
        opened.page.wait_for_timeout(80)
        lens = opened.page.locator("#lens").bounding_box()
        assert lens is not None
        assert not (
            lens["x"] - 20 < x < lens["x"] + lens["width"] + 20
            and lens["y"] - 20 < y < lens["y"] + lens["height"] + 20
        )
        opened.page.mouse.up()
        assert opened.page.locator("#lens").is_hidden()


def test_the_look_changes_the_film_and_not_the_points(opened: Desk) -> None:
    grey = """() => {
      const canvas = document.querySelector("#film");
      const [x, y] = [canvas.width / 2, canvas.height / 2];
      return canvas.getContext("2d").getImageData(x, y, 1, 1).data[0];
    }"""
    before = opened.page.evaluate(grey)
    opened.page.get_by_role("button", name="Invert").click()
    opened.page.wait_for_timeout(150)
    assert opened.page.evaluate(grey) == pytest.approx(255 - before, abs=2)
    opened.page.get_by_role("button", name="Plain").click()
    opened.page.wait_for_timeout(150)
    assert opened.page.evaluate(grey) == before
    for name, brighter in (("Brightness", "0.3"), ("Gamma", "2")):
        opened.page.get_by_label(name).fill(brighter)
        opened.page.wait_for_timeout(150)
        assert opened.page.evaluate(grey) > before
        opened.page.get_by_role("button", name="Plain").click()
    assert np.allclose(points_of(opened.case()), POINTS, atol=0.006)


def test_lines_regions_and_names_are_shown_if_wanted(opened: Desk) -> None:
    lines = opened.page.locator("#marks .lines line:visible")
    assert lines.count() == len(ISBI2015.lines)
    opened.page.get_by_role("button", name="Lines", exact=True).click()
    assert lines.count() == 0
    circles = "[...document.querySelectorAll('#marks .regions circle')]"
    radii = f"{circles}.map((one) => Number(one.getAttribute('r')))"
    assert set(opened.page.evaluate(radii)) == {0}
    opened.page.get_by_role("button", name="95 %").click()
    shown = opened.page.evaluate(radii)
    assert np.allclose(np.array(shown) / shown[0], [(3 + k) / 3 for k in range(19)], atol=0.1)
    opened.drag(18, 10, 0)
    opened.page.wait_for_timeout(50)
    assert opened.page.evaluate(radii)[18] == 0  # a person placed it


def test_doubtful_films_and_points_are_marked_with_the_reason(
    desk: Desk, add: Callable[..., dict[str, Any]]
) -> None:
    reason = "the film has hardly any contrast"
    add("one.png", FILM, POINTS, doubtful=[reason])
    desk.load()
    desk.point(0).wait_for()
    desk.page.get_by_text(f"Doubtful: {reason}").wait_for()
    assert desk.page.locator("#cases .doubt").get_attribute("title") == reason
    unsure = desk.point(18)  # confidence 0.45
    assert "doubtful" in (unsure.get_attribute("class") or "")
    unsure.focus()
    assert "within 2 mm with a probability of 45 %" in desk.page.locator("#help").inner_text()
    row = desk.page.locator("table[data-analysis='isbi2015'] tbody tr").first
    assert row.locator("td").nth(2).inner_text() == ""  # no class of a doubtful film
    desk.page.get_by_label("I have checked all points").check()
    desk.page.get_by_text(f"Doubtful: {reason}").wait_for(state="hidden")
    assert "skeletal" in row.locator("td").nth(2).inner_text()


OVERLAPS = """() => {
  const shown = [...document.querySelectorAll("button, .button, input, select, textarea, #stage")]
    .filter((one) => one.checkVisibility({ opacityProperty: true, visibilityProperty: true })
      && !["files", "folder"].includes(one.id))
    .map((one) => [one, one.getBoundingClientRect()]);
  const found = [];
  for (const [a, p] of shown) {
    for (const [b, q] of shown) {
      if (a === b || a.contains(b) || b.contains(a)) continue;
      const isOver = p.left < q.right - 1 && q.left < p.right - 1
        && p.top < q.bottom - 1 && q.top < p.bottom - 1;
      if (isOver && a.compareDocumentPosition(b) & 4) {
        found.push([a.id || a.textContent, b.id || b.textContent]);
      }
    }
  }
  return found;
}"""


CLIPPED = """() => [...document.querySelectorAll(".now, th, button, #help")]
  .filter((one) => one.scrollWidth > one.clientWidth && one.clientWidth)
  .map((one) => one.textContent)"""


@pytest.mark.parametrize("size", [(1440, 900), (1024, 768), (390, 844)])
def test_nothing_overlaps_or_scrolls_sideways(opened: Desk, size: tuple[int, int]) -> None:
    opened.page.set_viewport_size({"width": size[0], "height": size[1]})
    opened.page.get_by_text("Analyses", exact=True).click()
    for box in opened.page.locator("#analyses input").all():
        box.check()
    opened.page.get_by_role("button", name="Calibrate").click()
    opened.page.wait_for_timeout(150)
    width = opened.page.evaluate("document.documentElement.scrollWidth")
    assert width <= size[0]
    for part in ("#list", "#side", "header", "#viewer"):
        inner = opened.page.locator(part).evaluate("(one) => one.scrollWidth - one.clientWidth")
        assert inner <= 0, part
    assert opened.page.evaluate(OVERLAPS) == []
    assert opened.page.evaluate(CLIPPED) == []
    stage = opened.page.locator("#stage").bounding_box()
    assert stage is not None
    assert stage["width"] >= 0.35 * size[0]
    assert stage["height"] >= 0.5 * size[1]


def test_the_page_of_the_api_lists_the_routes_and_predicts(desk: Desk, tmp_path: Path) -> None:
    desk.page.goto(f"{desk.address}/docs")
    desk.page.get_by_role("heading", name="POST /predict").wait_for()
    assert "spacing_mm (query): millimetres per pixel" in desk.page.locator("#routes").inner_text()
    (tmp_path / "one.png").write_bytes(FILM)
    desk.page.set_input_files("#film", tmp_path / "one.png")
    desk.page.get_by_label("Millimetres per pixel").fill("0.25")
    desk.page.get_by_role("button", name="POST /predict").click()
    desk.page.get_by_text('"spacing_mm": 0.25').wait_for()
    answer = json.loads(desk.page.locator("#answer").inner_text())
    assert (answer["film"], len(answer["landmarks"])) == ("one.png", 19)


def in_state(desk: Desk, state: str) -> None:
    """Bring the page, on which a film is open, into a state."""
    page = desk.page
    if state == "all measures":
        page.get_by_text("Analyses", exact=True).click()
        for box in page.locator("#analyses input").all():
            box.check()
    elif state == "calibration":
        page.get_by_role("button", name="Calibrate").click()
    elif state == "superimposed":
        page.locator("#other").select_option("two")
        page.locator("#differences table").first.wait_for()
    elif state == "a point in hand":
        desk.drag(SELLA, 12, 0)
        desk.point(SELLA).focus()
        page.get_by_role("button", name="95 %").click()
    elif state == "a fault":
        page.set_input_files("#files", {"name": "x.png", "mimeType": "", "buffer": b"x"})
        page.locator("#message").wait_for()
    elif state == "keys":
        page.get_by_text("What keys and pointers do").click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("state", "width"),
    [
        ("empty", 1440),
        ("film", 1440),
        ("film", 390),
        ("all measures", 1024),
        ("calibration", 1440),
        ("superimposed", 1440),
        ("a point in hand", 1440),
        ("a fault", 1440),
        ("keys", 390),
        ("api", 1440),
    ],
)
def test_axe_finds_no_serious_fault(
    state: str, width: int, scheme: Any, browser: Browser, address: str, add: Callable[..., Any]
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(
        bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    desk = Desk(context.new_page(), address)
    if state == "api":
        desk.page.goto(f"{address}/docs")
        desk.page.wait_for_selector("h3")
    elif state == "empty":
        desk.load()
    else:
        add("one.png", FILM, POINTS, doubtful=["the film has hardly any contrast"])
        add("two.png", OTHER, OTHER_POINTS)
        desk.load("one")
        desk.point(0).wait_for()
        in_state(desk, state)
    desk.page.wait_for_timeout(300)
    found = Axe().run(desk.page).response
    assert len(found["passes"]) >= 10  # it has looked
    serious = [
        (one["id"], [node["html"][:120] for node in one["nodes"][:3]])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
    context.close()


NAMES = """() => [...document.querySelectorAll("#marks g.point[data-index] :is(text, .dot)")]
  .map((one) => [one.tagName, one.parentNode.dataset.index, one.getBoundingClientRect()])
  .map(([tag, index, { left, top, right, bottom }]) => [tag, index, left, top, right, bottom])"""


def test_names_hide_neither_points_nor_each_other(opened: Desk) -> None:
    found = opened.page.evaluate(NAMES)
    assert len(found) == 38
    for number, (tag, index, *box) in enumerate(found):
        for other_tag, other_index, *other in found[number + 1 :]:
            if "text" not in (tag, other_tag) or index == other_index:
                continue
            width = min(box[2], other[2]) - max(box[0], other[0])
            height = min(box[3], other[3]) - max(box[1], other[1])
            assert min(width, height) < 3, (tag, index, other_tag, other_index)  # of line spacing


def test_a_page_without_a_film_shows_only_what_can_be_done(desk: Desk) -> None:
    desk.load()
    visible = "(all) => all.filter((one) => one.checkVisibility()).map((one) => one.id)"
    assert desk.page.locator("main button").evaluate_all(visible) == ["teach"]
    assert desk.page.locator("header button").evaluate_all(visible) == []
    desk.drop(("one.png", FILM))
    desk.point(0).wait_for()
    assert desk.page.get_by_role("button", name="Print").is_visible()
    desk.page.mouse.move(0, 0)
    assert "Drag a point" in desk.page.locator("#help").inner_text()


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_the_form_of_the_ruler_is_seen_with_the_ruler(opened: Desk, size: tuple[int, int]) -> None:
    opened.page.set_viewport_size({"width": size[0], "height": size[1]})
    opened.page.get_by_role("button", name="Calibrate").click()
    opened.page.wait_for_timeout(150)
    parts = ["#ruler-set", "#length"]
    boxes = [opened.page.locator(part).bounding_box() for part in parts]
    boxes += [end.bounding_box() for end in opened.page.locator("#marks .ruler .dot").all()]
    assert len(boxes) == 4
    tops = [box["y"] for box in boxes if box]
    assert len(tops) == 4
    assert max(tops) - min(tops) < size[1] - 40


MOVE = """async ([x, y]) => {
  const marker = document.querySelector("#marks g.point[data-index='4']");
  const state = () => [marker.getAttribute("transform"),
    document.querySelector("table[data-analysis=isbi2015] tr:nth-child(3) td").textContent];
  await new Promise(requestAnimationFrame);
  const before = state();
  marker.dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: y, bubbles: true }));
  await new Promise(requestAnimationFrame);
  return [before, state()];
}"""


def test_a_point_and_its_measures_follow_in_the_next_frame(opened: Desk) -> None:
    x, y = opened.place(A_POINT)
    opened.page.mouse.move(x, y)
    opened.page.mouse.down()
    opened.page.wait_for_timeout(100)
    before, after = opened.page.evaluate(MOVE, [x + 30, y])
    opened.page.mouse.up()
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_all_measures_are_rendered_on_a_phone_and_follow_when_they_come_in_sight(
    opened: Desk,
) -> None:
    opened.page.set_viewport_size({"width": 390, "height": 844})
    opened.page.get_by_text("Analyses", exact=True).click()
    for box in opened.page.locator("#analyses input").all():
        box.check()
    rows = opened.page.locator("#measures tr")
    rendered = rows.evaluate_all(
        "(rows) => rows.map((row) => row.checkVisibility({ contentVisibilityAuto: true }))"
    )
    assert len(rendered) > 70
    assert all(rendered)
    before = opened.value("SNA", "steiner")
    opened.point(A_POINT).focus()
    for _ in range(4):  # the measures are below the film, and not seen
        opened.page.keyboard.press("Shift+ArrowRight")
    opened.page.locator("table[data-analysis='steiner']").scroll_into_view_if_needed()
    opened.page.wait_for_timeout(100)
    assert opened.value("SNA", "steiner") == opened.value("SNA") > before + 2


# The pointer moves once a frame; Playwright's own mouse waits several frames for each move.
DRAG = """async ([x, y, count]) => {
  const marker = document.querySelector("#marks g.point[data-index='4']");
  const frames = [];
  for (let frame = 0; frame < count; frame += 1) {
    const time = await new Promise(requestAnimationFrame);
    frames.push([time, marker.getAttribute("transform"),
      document.querySelector("table[data-analysis=isbi2015] td").textContent]);
    const clientX = x + 80 * Math.sin(frame / 40), clientY = y + frame / 10;
    marker.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, bubbles: true }));
  }
  return frames;
}"""


@pytest.mark.slow
def test_a_drag_on_a_large_film_shows_fifty_frames_a_second(
    desk: Desk, add: Callable[..., dict[str, Any]]
) -> None:
    film, points = draw(5, (1935, 2400))
    add("large.png", film, points, spacing=0.1)
    desk.load()
    desk.point(0).wait_for()
    desk.page.get_by_text("Analyses", exact=True).click()
    for box in desk.page.locator("#analyses input").all():
        box.check()
    rates = []
    for _ in range(3):  # what else the machine does only slows
        x, y = desk.place(A_POINT)
        desk.page.mouse.move(x, y)
        desk.page.mouse.down()
        frames = desk.page.evaluate(DRAG, [x, y, 200])[20:]
        desk.page.mouse.up()
        desk.page.get_by_role("button", name="Undo").click()
        times = np.array([time for time, _, _ in frames])
        assert len({place for _, place, _ in frames}) >= 0.95 * len(times)
        assert len({value for _, _, value in frames}) > 30
        rates.append((len(times) - 1) / (times[-1] - times[0]) * 1000)
    print(f"frames a second: {', '.join(f'{rate:.0f}' for rate in rates)}")
    assert max(rates) >= 50
