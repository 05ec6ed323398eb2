"""The page in a real browser: films are opened, corrected and saved."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cephray.clinical import measure
from cephray.serving.case import points_of
from cephray.serving.server import Server
from tests.serving.server import (
    SPACING_MM,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser

from tests.serving.desk import A_POINT, B_POINT, FILM, NASION, OTHER, POINTS, SELLA, Desk


def test_a_dropped_film_shows_its_points_and_is_kept(desk: Desk) -> None:
    desk.load()
    assert desk.page.locator("#welcome").is_visible()
    desk.drop(("one.png", FILM))
    desk.point(18).wait_for()
    assert desk.page.locator("#marks g.point[data-index]:visible").count() == 19
    labels = [desk.point(k).get_attribute("aria-label") for k in range(19)]
    assert labels[:2] == ["Sella", "Nasion"]
    case = desk.case()
    assert np.allclose(points_of(case), POINTS, atol=0.006)
    # The markers lie on the points: their distances on the screen are those of the film.
    seen = np.array([desk.place(k) for k in range(19)])
    scale = np.linalg.norm(seen[1] - seen[0]) / np.linalg.norm(POINTS[1] - POINTS[0])
    assert np.allclose(seen - seen[0], scale * (POINTS - POINTS[0]), atol=0.6)
    desk.load()
    desk.point(18).wait_for()
    assert desk.page.locator("#cases button").count() == 1


def test_films_in_a_row_are_opened_and_faults_are_named(desk: Desk) -> None:
    desk.load()
    name = "<img src=x onerror=alert(1)>.png"
    desk.drop((name, FILM), ("no.png", b"no film"), ("two.png", OTHER))
    desk.page.locator("#cases button").nth(1).wait_for()
    desk.page.locator("#message").wait_for()
    assert "no.png: the file is no film" in desk.page.locator("#message").inner_text()
    titles = desk.page.locator("#cases button span").all_inner_texts()
    assert sorted(titles) == sorted([name, "two.png"])
    assert desk.page.locator("#cases img[src=x]").count() == 0
    desk.faults = [one for one in desk.faults if "415" not in one]  # Chromium logs the status


def test_a_folder_opens_its_films(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "films" / "more").mkdir(parents=True)
    (tmp_path / "films" / "one.png").write_bytes(FILM)
    (tmp_path / "films" / "more" / "two.png").write_bytes(OTHER)
    (tmp_path / "films" / "notes.txt").write_text("no film")
    desk.load()
    desk.page.set_input_files("#folder", tmp_path / "films")
    desk.page.locator("#cases button").nth(1).wait_for()
    assert desk.page.locator("#message").is_hidden()


def test_measures_follow_a_drag_by_the_computed_amount(opened: Desk) -> None:
    before = measure(POINTS, SPACING_MM)
    assert opened.value("SNA") == pytest.approx(before[2], abs=0.051)
    opened.drag(A_POINT, 24, 0)
    points = points_of(opened.case())
    assert points[A_POINT][0] > POINTS[A_POINT][0] + 10
    assert np.allclose(np.delete(points, A_POINT, 0), np.delete(POINTS, A_POINT, 0), atol=0.006)
    # By hand: the angle at nasion between the ways to sella and to the A-point.
    to_sella, to_a = POINTS[SELLA] - POINTS[NASION], points[A_POINT] - POINTS[NASION]
    cosine = to_sella @ to_a / np.linalg.norm(to_sella) / np.linalg.norm(to_a)
    sna = np.degrees(np.arccos(cosine))
    assert opened.value("SNA") == pytest.approx(sna, abs=0.051)
    assert sna > before[2] + 2
    assert opened.value("SNB") == pytest.approx(before[1], abs=0.051)
    assert opened.value("ANB") == pytest.approx(sna - before[1], abs=0.101)


def test_measures_change_while_a_point_is_held(opened: Desk) -> None:
    before = opened.value("SNA")
    x, y = opened.place(A_POINT)
    opened.page.mouse.move(x, y)
    opened.page.mouse.down()
    opened.page.mouse.move(x + 30, y)
    opened.page.wait_for_timeout(100)
    assert opened.value("SNA") > before + 2
    opened.page.mouse.up()


def test_undo_and_redo(opened: Desk) -> None:
    before = opened.value("SNA")
    opened.drag(A_POINT, 24, 0)
    opened.drag(B_POINT, 24, 0)
    moved = opened.value("SNA")
    assert moved != before
    opened.page.get_by_role("button", name="Undo").click()
    assert opened.value("SNB") == pytest.approx(measure(POINTS)[1], abs=0.051)
    opened.page.keyboard.press("Control+z")
    opened.page.wait_for_timeout(50)
    assert opened.value("SNA") == before
    assert opened.page.get_by_role("button", name="Undo").is_disabled()
    opened.page.keyboard.press("Control+Shift+z")
    opened.page.wait_for_timeout(50)
    assert opened.value("SNA") == moved
    opened.page.get_by_role("button", name="Redo").click()
    opened.page.get_by_role("button", name="Reset all").click()
    assert np.allclose(points_of(opened.case()), POINTS, atol=0.006)
    opened.page.get_by_role("button", name="Undo").click()
    assert not np.allclose(points_of(opened.case()), POINTS, atol=0.006)


def test_a_change_that_is_undone_before_it_is_saved_is_saved(opened: Desk) -> None:
    opened.drag(A_POINT, 24, 0)
    opened.page.keyboard.press("Control+z")
    opened.page.get_by_text("Not saved yet").wait_for()
    assert opened.case()["revision"] == 1


def test_all_is_done_by_keyboard_alone(opened: Desk) -> None:
    keyboard = opened.page.keyboard
    for _ in range(60):
        keyboard.press("Tab")
        if opened.page.evaluate("document.activeElement.dataset.index") == "0":
            break
    assert "centre of the pituitary fossa" in opened.page.locator("#help").inner_text()
    keyboard.press("ArrowRight")
    keyboard.press("Shift+ArrowDown")
    assert opened.page.locator("#announcer").inner_text().startswith("Sella at ")
    assert opened.page.locator("#lens").is_visible()
    keyboard.press("Tab")
    keyboard.press("ArrowUp")
    keyboard.press("Tab")
    keyboard.press("Delete")
    points = points_of(opened.case())
    assert np.allclose(points[0], POINTS[0] + [1, 10], atol=0.006)
    assert np.allclose(points[1], POINTS[1] - [0, 1], atol=0.006)
    assert np.isnan(points[2]).all()
    assert opened.page.locator("#announcer").inner_text() == "Orbitale is missing"
    assert opened.page.evaluate("document.activeElement.dataset.index") == "3"
    keyboard.press("Shift+Tab")
    keyboard.press("r")
    points = points_of(opened.case())
    assert np.allclose(points[1], POINTS[1], atol=0.006)
    opened.page.get_by_role("button", name="Reset Orbitale").press("Enter")
    assert np.allclose(points_of(opened.case())[2], POINTS[2], atol=0.006)


def test_the_least_sure_point_is_first(opened: Desk) -> None:
    opened.page.get_by_label("Least sure first").check()
    opened.page.wait_for_timeout(100)
    order = opened.page.evaluate(
        "[...document.querySelectorAll('#marks g.point[data-index]')].map((p) => p.dataset.index)"
    )
    assert order == [str(k) for k in reversed(range(19))]  # radii grow with the number


def test_a_ruler_gives_millimetres(opened: Desk) -> None:
    before = opened.value("MW")
    opened.page.get_by_role("button", name="Calibrate").click()
    ends = opened.page.locator("#marks .ruler g.point")
    keyboard = opened.page.keyboard
    for _ in range(3):
        keyboard.press("Shift+ArrowUp")
    box = ends.nth(1).locator(".dot").bounding_box()
    assert box is not None
    opened.page.mouse.move(box["x"] + 4, box["y"] + 4)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + 64, box["y"] + 34, steps=3)
    opened.page.mouse.up()
    opened.page.get_by_label("Their distance in mm").fill("100")
    keyboard.press("Enter")
    case = opened.case()
    (x, y), (u, v) = case["ruler"]["points_px"]
    assert case["spacing_mm"] == pytest.approx(100 / np.hypot(u - x, v - y))
    assert opened.value("MW") == pytest.approx(before * case["spacing_mm"] / SPACING_MM, abs=0.11)
    assert opened.value("SNA") == pytest.approx(measure(POINTS)[2], abs=0.051)
    opened.page.get_by_role("button", name="Remove the ruler").click()
    assert opened.case()["spacing_mm"] == pytest.approx(SPACING_MM)


def test_what_is_changed_is_there_after_a_reload(opened: Desk) -> None:
    from playwright.sync_api import expect

    opened.drag(SELLA, -12, 9)
    opened.page.get_by_label("Patient", exact=True).fill("P 17")
    opened.page.get_by_label("Remarks").fill("line one\nline two")
    opened.page.get_by_label("I have checked all points").check()
    kept = opened.case()
    opened.load("one")
    opened.point(0).wait_for()
    expect(opened.page.get_by_label("Patient", exact=True)).to_have_value("P 17")
    expect(opened.page.get_by_label("Remarks")).to_have_value("line one\nline two")
    expect(opened.page.get_by_label("I have checked all points")).to_be_checked()
    assert opened.case() == kept
    assert kept["landmarks"][SELLA]["corrected"]


def test_a_change_just_before_leaving_is_saved(opened: Desk) -> None:
    opened.drag(SELLA, -12, 9)
    opened.load("one")  # within the pause before a save
    opened.point(0).wait_for()
    assert opened.case()["landmarks"][SELLA]["corrected"]


def test_a_change_while_a_save_is_under_way_is_saved_when_the_page_is_left(
    opened: Desk, films: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, go = films.cases.change, threading.Event()

    def answer_late(*given: Any) -> dict[str, Any]:
        changed = change(*given)
        if changed["revision"] == 2:
            go.wait(30)
        return changed

    monkeypatch.setattr(films.cases, "change", answer_late)
    opened.drag(SELLA, -12, 9)
    opened.page.get_by_text("Saving", exact=True).wait_for()
    opened.drag(NASION, 12, 9)
    opened.page.goto("about:blank")
    deadline = time.monotonic() + 10
    while not films.cases.read("one")["landmarks"][NASION]["corrected"]:
        assert time.monotonic() < deadline, "the second change is lost"
        time.sleep(0.05)
    go.set()
    points = points_of(films.cases.read("one"))
    assert points[SELLA][0] < POINTS[SELLA][0] - 5
    assert points[NASION][0] > POINTS[NASION][0] + 5


def test_two_windows_do_not_overwrite_each_other(opened: Desk, browser: Browser) -> None:
    second = Desk(browser.new_page(), opened.address)
    second.load("one")
    second.point(0).wait_for()
    opened.drag(SELLA, 12, 0)
    first = opened.case()
    second.drag(NASION, 12, 0)
    second.page.get_by_text("changed elsewhere").wait_for()
    assert opened.case() == first
    second.page.get_by_role("button", name="Load it again").click()
    second.page.locator("#message").wait_for(state="hidden")
    assert np.allclose(points_of(second.case()), points_of(first))
    second.drag(NASION, 12, 0)
    assert second.case()["revision"] == first["revision"] + 1
    opened.drag(SELLA, 12, 0)
    opened.page.get_by_role("button", name="Save mine over it").click()
    opened.saved()
    points = points_of(opened.case())
    assert np.allclose(points[NASION], POINTS[NASION], atol=0.006)
    second.page.close()
    opened.faults = [one for one in opened.faults if "409" not in one]


def test_a_server_that_is_gone_loses_no_change(opened: Desk) -> None:
    opened.page.route("**/api/cases/one?*", lambda route: route.abort())
    opened.drag(SELLA, 12, 0)
    opened.page.get_by_text("The server does not answer").wait_for()
    opened.page.unroute("**/api/cases/one?*")
    opened.page.get_by_role("button", name="Try again").click()
    assert opened.case()["landmarks"][SELLA]["corrected"]
    opened.faults = [one for one in opened.faults if "ERR_FAILED" not in one]


Places = list[tuple[float, float]]


@pytest.fixture
def phone(browser: Browser, opened: Desk) -> Iterator[Desk]:
    """Return the page with a film open on a touch screen."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    desk = Desk(context.new_page(), opened.address)
    desk.load("one")
    desk.point(0).wait_for()
    desk.page.locator("#stage").scroll_into_view_if_needed()
    yield desk
    assert desk.faults == []
    context.close()


def touch(desk: Desk, *fingers: Places) -> None:
    """Move fingers; each has its places, the first where it is put down, one after the other."""
    session = desk.page.context.new_cdp_session(desk.page)

    def send(kind: str, places: Places) -> None:
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
        desk.page.wait_for_timeout(60)

    for count in range(1, len(fingers) + 1):
        send("touchStart", [places[0] for places in fingers[:count]])
    for places in list(zip(*fingers, strict=True))[1:]:
        send("touchMove", list(places))
    send("touchEnd", [])


def test_a_point_is_dragged_by_touch(phone: Desk) -> None:
    x, y = phone.place(SELLA)
    touch(phone, [(x, y), (x + 10, y + 5), (x + 25, y + 10)])
    assert phone.place(SELLA) == pytest.approx((x + 25, y + 10), abs=1.5)
    assert phone.case()["landmarks"][SELLA]["corrected"]


def test_two_fingers_zoom_and_pan(phone: Desk) -> None:
    box = phone.page.locator("#stage").bounding_box()
    assert box is not None
    x, y = box["x"] + 60, box["y"] + 60  # no point is there
    before = np.array([phone.place(k) for k in range(19)])
    touch(
        phone,
        [(x, y), (x - 10, y), (x - 20, y + 10)],
        [(x + 60, y), (x + 80, y), (x + 100, y + 10)],
    )
    # What was between the fingers is between them: twice as far, and moved by (10, 10).
    middle = np.array([x + 30, y])
    after = middle + [10, 10] + 2 * (before - middle)
    assert np.allclose([phone.place(k) for k in range(19)], after, atol=2.5)
    assert phone.page.evaluate("visualViewport.scale") == 1  # the film, and not the page
    assert not any(one["corrected"] for one in phone.case()["landmarks"])


@pytest.mark.parametrize("is_first", [True, False])
def test_two_fingers_move_no_point_even_if_one_is_on_it(phone: Desk, is_first: bool) -> None:
    x, y = phone.place(SELLA)
    on_it = [(x, y), (x - 8, y), (x - 30, y)]
    beside = [(x - 90, y - 90), (x - 100, y - 90), (x - 120, y - 90)]
    before = np.array([phone.place(k) for k in range(19)])
    touch(phone, *([on_it, beside] if is_first else [beside, on_it]))
    after = np.array([phone.place(k) for k in range(19)])
    moved = after - before
    assert np.linalg.norm(moved, axis=1).min() > 20
    assert np.allclose(moved, moved[0], atol=1.5)
    assert not any(one["corrected"] for one in phone.case()["landmarks"])
    assert phone.page.get_by_role("button", name="Undo").is_disabled()
