"""The page in a real browser: measures, superimposition, print and files to take away."""

from __future__ import annotations

import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cephray.clinical import analysis_named, measure
from cephray.landmarks import ISBI2015
from cephray.serving.case import points_of
from cephray.serving.setup import own_analyses
from tests.serving.server import (
    OURS,
    SIZE_PX,
    SPACING_MM,
    KnowingPool,
    make_server,
    serving,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser

from tests.serving.desk import FILM, OTHER, OTHER_POINTS, POINTS, SELLA, Desk


def test_analyses_are_chosen_and_the_choice_is_kept(opened: Desk) -> None:
    opened.page.get_by_text("Analyses", exact=True).click()
    opened.page.get_by_label("Tweed").check()
    opened.page.get_by_label("Steiner").uncheck()
    tweed = analysis_named("tweed").of_set(ISBI2015)
    expected = dict(
        zip([one.name for one in tweed.measures], tweed.values(POINTS, SPACING_MM), strict=True)
    )
    assert opened.value("FMA", "tweed") == pytest.approx(expected["FMA"], abs=0.051)
    assert opened.page.locator("table[data-analysis='steiner']").count() == 0
    opened.load("one")
    opened.page.locator("table[data-analysis='tweed']").wait_for()
    assert opened.page.locator("table[data-analysis='steiner']").count() == 0


def test_norms_are_those_of_the_patients_group(opened: Desk) -> None:
    opened.page.get_by_text("Analyses", exact=True).click()
    opened.page.get_by_label("McNamara").check()
    table = opened.page.locator("table[data-analysis='mcnamara']")
    [measure] = (
        one for one in analysis_named("mcnamara").measures if one.name == "A-N perpendicular"
    )
    women, men = measure.norms
    row = table.locator("tbody tr").filter(has=opened.page.get_by_role("rowheader", name="A-N"))
    value = opened.value("A-N perpendicular", "mcnamara")

    def deviation(cell: Any) -> float:
        return float(cell.inner_text().removesuffix(" SD").replace("−", "-"))

    # All norms of a measure are shown, each with whom it is for.
    assert re.search(r"0\.4 ± 2\.3\s+women", row.inner_text())
    below = row.locator("xpath=following-sibling::tr[1]")
    assert re.search(r"1\.1 ± 2\.7\s+men", below.inner_text())
    for cell, norm in ((row.locator("td").last, women), (below.locator("td").last, men)):
        assert norm.sd is not None
        assert deviation(cell) == pytest.approx((value - norm.mean) / norm.sd, abs=0.08)
    opened.page.get_by_label("Norms for").select_option("men")
    assert opened.case()["norms_for"] == "men"
    assert "1.1 ± 2.7" in row.inner_text()
    assert "women" not in table.inner_text()
    assert "norms: men" in table.locator("caption").inner_text()
    opened.load("one")
    opened.point(0).wait_for()
    assert "norms: men" in table.locator("caption").inner_text()
    opened.page.get_by_text("Analyses", exact=True).click()
    opened.page.get_by_label("McNamara").uncheck()
    assert opened.page.get_by_label("Norms for").input_value() == "men"  # it is the patient's


def test_an_analysis_of_the_user_is_offered_and_chosen(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text(OURS)
    own = own_analyses([str(file)], ISBI2015)
    server = make_server(tmp_path / "cases", spacing=SPACING_MM, analyses=own)
    assert isinstance(server.pool, KnowingPool)
    server.pool.teach(FILM, POINTS)
    with serving(server) as address:
        desk = Desk(browser.new_page(), address)
        desk.load()
        desk.drop(("one.png", FILM))
        desk.point(18).wait_for()
        expected = np.linalg.norm(POINTS[9] - POINTS[0]) * SPACING_MM
        assert desk.value("S-Go", "ours") == pytest.approx(expected, abs=0.06)
        with desk.page.expect_download() as waiting:
            desk.page.get_by_role("button", name="Measures, CSV", exact=True).click()
        assert "one,ours,S-Go," in Path(waiting.value.path()).read_text()
        desk.page.close()
    assert desk.faults == []


def test_two_films_are_superimposed_on_sella_and_nasion(
    opened: Desk, add: Callable[..., dict[str, Any]]
) -> None:
    # The same head on a film that is turned, moved, smaller and mirrored; one point has grown.
    angle = np.radians(8)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (POINTS @ turn.T) * 0.8 + [40, 30]
    moved[:, 0] = SIZE_PX[0] - 1 - moved[:, 0]
    grown = 7  # menton
    moved[grown] += 0.8 * np.array([-6.0, 9.0])
    add("two.png", OTHER, moved, spacing=SPACING_MM / 0.8)
    opened.load("one")
    opened.point(0).wait_for()
    opened.page.get_by_label("An earlier or later film").select_option("two")
    circles = opened.page.locator("#marks .other circle")
    circles.first.wait_for()
    boxes = [circles.nth(k).bounding_box() for k in range(19)]
    drawn = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes if box]
    for index in range(19):
        distance = np.linalg.norm(np.subtract(drawn[index], opened.place(index)))
        assert distance > 5 if index == grown else distance < 1.0, index
    assert "ISBI 2015" in opened.page.locator("#differences caption").first.inner_text()
    rows = opened.page.locator("#differences table").first.locator("tbody tr")
    cells = {rows.nth(k).locator("th").inner_text(): rows.nth(k).locator("td").all_inner_texts()
             for k in range(rows.count())}  # fmt: skip
    before, now = measure(moved, SPACING_MM / 0.8), measure(POINTS, SPACING_MM)
    fhi = [float(text.replace("−", "-")) for text in cells["FHI"]]
    assert fhi == pytest.approx([before[5], now[5], now[5] - before[5]], abs=0.0011)
    assert abs(fhi[2]) > 0.005
    text = " ".join(printed(opened).split())
    assert "two.png. The other film is drawn in pink" in text
    change = re.escape(f"{now[5] - before[5]:+.3f}")
    assert re.search(rf"FHI {now[5]:.3f} ± \d\.\d+ {change}", text)
    opened.page.get_by_label("An earlier or later film").select_option("")
    assert circles.count() == 0
    opened.page.get_by_text("Analyses", exact=True).click()
    for box in opened.page.locator("#analyses input").all()[1:]:
        box.check()
    opened.page.get_by_label("An earlier or later film").select_option("two")
    circles.first.wait_for(state="attached")
    assert "two.png" in printed(opened)
    opened.page.get_by_label("An earlier or later film").select_option("")
    assert "two.png" not in printed(opened)


def printed(desk: Desk) -> str:
    """Print the page, and return the text of the one page of paper."""
    from pypdf import PdfReader

    pdf = PdfReader(io.BytesIO(desk.page.pdf(prefer_css_page_size=True)))
    assert len(pdf.pages) == 1
    return unicodedata.normalize("NFKC", pdf.pages[0].extract_text())  # without ligatures


def test_the_print_is_one_page_with_all_measures(opened: Desk) -> None:
    from pypdf import PdfReader

    opened.page.get_by_label("Patient", exact=True).fill("P 17")
    opened.page.get_by_text("Analyses", exact=True).click()
    for box in opened.page.locator("#analyses input").all():
        box.check()
    opened.saved()
    pdf = PdfReader(io.BytesIO(opened.page.pdf(prefer_css_page_size=True)))
    assert len(pdf.pages) == 1
    assert [round(float(side)) for side in pdf.pages[0].mediabox[2:]] == pytest.approx(
        [595, 842], abs=2
    )
    text = pdf.pages[0].extract_text()
    assert text.startswith("P 17")
    for wanted in ("Steiner", "Jarabak", "Wits", "no medical device", "one.png"):
        assert wanted in text
    sna = f"{measure(POINTS)[2]:.1f}°"
    assert sna in text
    assert len(pdf.pages[0].images) == 1
    assert "Undo" not in text  # of the page itself


@pytest.mark.parametrize(
    "to", ["Points, CSV", "Measures, CSV", "JSON", "labelme", "COCO", "PNG with lines"]
)
def test_what_is_taken_away_is_what_is_shown(opened: Desk, to: str) -> None:
    opened.drag(SELLA, 12, 0)
    with opened.page.expect_download() as waiting:
        opened.page.get_by_role("button", name=to, exact=True).click()
    content = Path(waiting.value.path()).read_bytes()
    sella = points_of(opened.case())[SELLA]
    assert sella[0] > POINTS[SELLA][0] + 5
    if to == "PNG with lines":
        assert content.startswith(b"\x89PNG")
    elif to == "Measures, CSV":
        assert b"one,isbi2015,SNA," in content
    else:
        assert f"{sella[0]:g}" in content.decode()


def test_all_films_are_taken_away_in_an_archive(
    opened: Desk, add: Callable[..., dict[str, Any]]
) -> None:
    add("two.png", OTHER, OTHER_POINTS)
    opened.page.locator("#export-films").select_option("all")
    with opened.page.expect_download() as waiting:
        opened.page.get_by_role("button", name="JSON", exact=True).click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert sorted(archive.namelist()) == ["one.json", "two.json"]
        films = [json.loads(archive.read(name)) for name in archive.namelist()]
    assert {film["film"] for film in films} == {"one", "two"}
