"""`cephray serve` with its network, as a process of its own: under load, killed, stopped."""

from __future__ import annotations

import base64
import json
import re
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import psutil
import pytest

from cephray.cli.__main__ import main
from tests.serving.process import TOKEN, Served, served
from tests.serving.server import draw

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served") / "cases"
    with served(folder, "--host", "0.0.0.0", "--spacing", "0.1") as found:
        yield found
        film, _ = draw(32)
        with ThreadPoolExecutor(4) as clients:
            waiting = [clients.submit(found.ask, "/predict", film) for _ in range(3)]
            while found.ask("/health")[1]["waiting"] < 3 and not any(w.done() for w in waiting):
                time.sleep(0.01)
            found.process.send_signal(signal.SIGTERM)
            assert [one.result()[0] for one in waiting] == [200] * 3  # those in flight
        found.process.wait(60)  # without a second signal
    assert found.process.returncode == 143
    assert any("stopped by SIGTERM" in line and str(folder) in line for line in found.lines)


def assert_same(key: str, found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Compare a number of all landmarks, up to rounding in the network."""
    one, other = (np.array([point[key] for point in points]) for points in (found, expected))
    assert np.allclose(one, other, rtol=0, atol=0.05), key


@pytest.mark.slow
def test_it_finds_what_the_library_finds(server: Served) -> None:
    import cephray
    from cephray.data import cv2

    film, _ = draw(11, (968, 1200))
    image = cv2.imdecode(np.frombuffer(film, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    expected = cephray.load().predict(image, 0.1).to_dict()
    status, found = server.ask("/predict?name=film%201", film)
    assert status == 200
    assert found["checkpoint"] == "included"
    for key in ("x_px", "y_px", "confidence", "radius_95_px"):
        assert_same(key, found["landmarks"], expected["landmarks"])
    same = ("size_px", "spacing_mm", "spacing_source", "doubtful", "orientation")
    assert {key: found[key] for key in same} == {key: expected[key] for key in same} | {
        "spacing_source": found["spacing_source"]
    }
    assert server.ask("/health")[1]["replicas"] == 1


@pytest.mark.slow
def test_without_the_token_every_address_is_refused(server: Served) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
            own = probe.getsockname()[0]
        except OSError:
            own = "127.0.0.1"  # a machine without a network
    for host in ("127.0.0.1", own):
        for path in ("/", "/health", "/api/cases", "/page/main.js", "/openapi.json"):
            status, answer = server.ask(path, token=None, host=host)
            assert (status, list(answer)) == (401, ["error"])
        assert server.ask("/predict", b"x", token="wrong", host=host)[0] == 401
        assert server.ask("/health", host=host)[0] == 200


@pytest.mark.slow
def test_two_hundred_predictions_by_eight_clients_are_all_answered(server: Served) -> None:
    films = [draw(20 + number)[0] for number in range(4)]
    alone = [server.ask("/predict", film)[1]["landmarks"] for film in films]
    with ThreadPoolExecutor(8) as clients:  # batches of all sizes, so that memory is as it stays
        list(clients.map(lambda number: server.ask("/predict", films[number % 4]), range(32)))
    processes = [psutil.Process(server.process.pid), *server.replicas()]
    memory = sum(process.memory_info().rss for process in processes)

    def ask(number: int) -> tuple[int, int, Any]:
        status, answer = server.ask(f"/predict?name={number}", films[number % 4])
        return number, status, answer

    begun = time.monotonic()
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(ask, range(200)))
    print(f"200 predictions by 8 clients took {time.monotonic() - begun:.0f} s")
    grown = sum(process.memory_info().rss for process in processes) / memory
    print(f"memory of {memory / 1e9:.2f} GB became {grown:.3f} of that")
    assert grown < 1.1
    assert [(number, status) for number, status, _ in answers] == [(n, 200) for n in range(200)]
    for number, _, answer in answers:
        assert answer["film"] == str(number)
        for key in ("x_px", "y_px"):
            assert_same(key, answer["landmarks"], alone[number % 4])
    _, metrics = server.ask("/metrics")
    together = re.search(rb'cephray_batch_films_bucket\{le="1.0"\} ([0-9.]+)', metrics)
    assert together is not None
    assert float(together[1]) < 150  # most films were seen together with others


@pytest.mark.slow
def test_a_replica_that_is_killed_loses_no_answer(server: Served) -> None:
    film, _ = draw(30)
    [replica] = server.replicas()
    answers: list[tuple[int, Any]] = []

    def ask(_: int) -> None:
        answers.append(server.ask("/predict", film))

    with ThreadPoolExecutor(8) as clients:
        waiting = [clients.submit(ask, number) for number in range(32)]
        while len(answers) < 4:
            time.sleep(0.05)
        replica.kill()
        for one in waiting:
            one.result(400)
    statuses = Counter(status for status, _ in answers)
    print(f"statuses: {dict(statuses)}")
    assert sum(statuses.values()) == 32
    assert set(statuses) <= {200, 503}
    for status, answer in answers:
        if status == 503:
            assert list(answer) == ["error"]
            assert "try again" in answer["error"]
    deadline = time.monotonic() + 300
    while server.ask("/health")[0] != 200 and time.monotonic() < deadline:
        time.sleep(1)
    assert server.ask("/predict", film)[0] == 200
    assert [one.pid for one in server.replicas()] != [replica.pid]


@pytest.mark.slow
def test_films_are_answered_while_another_network_is_loaded(server: Served) -> None:
    from cephray.checkpoint import open_checkpoints

    taught = server.folder / "checkpoints" / "taught-1"
    shutil.copytree(Path(str(open_checkpoints(None)[0].folder)), taught)
    (taught / "adaptation.json").write_text('{"films": []}', encoding="utf-8")
    film, _ = draw(31)
    server.ask("/predict", film)
    seconds: list[float] = []
    with ThreadPoolExecutor(1) as client:
        choosing = client.submit(server.ask, "/api/checkpoints", b'{"name": "taught-1"}')
        while not choosing.done():
            begun = time.monotonic()
            status, answer = server.ask("/predict", film)
            seconds.append(time.monotonic() - begun)
            assert status == 200, answer
    assert choosing.result()[0] == 200
    print(f"{len(seconds)} films during the change, the slowest {max(seconds):.1f} s")
    assert max(seconds) < 10  # loading takes half a minute
    assert server.ask("/predict", film)[1]["checkpoint"] == "taught-1"
    assert len(server.replicas()) == 1
    assert server.ask("/api/checkpoints", b'{"name": null}')[1]["in_use"] == "included"
    shutil.rmtree(taught)


@pytest.mark.slow
def test_in_the_browser_five_films_teach_a_network_that_is_chosen(
    server: Served, browser: Browser, tmp_path: Path
) -> None:
    """The whole way: open, look, correct, check, teach, compare, choose, predict again."""
    from cephray.serving.case import points_of

    films, truths = zip(*(draw(40 + number, (1935, 2400)) for number in range(6)), strict=True)
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(f"{server.address.replace('0.0.0.0', '127.0.0.1')}/?token={TOKEN}")
    page.wait_for_selector("body[data-ready]")
    assert "token" not in page.url
    times = []
    for number, film in enumerate(films):
        path = tmp_path / f"film-{number}.png"
        path.write_bytes(film)
        page.evaluate(
            """() => { addEventListener("change", () => { window.begun = performance.now(); },
                 { capture: true, once: true }); }"""
        )
        page.set_input_files("#files", path)
        page.locator(f"#cases button[data-case='film-{number}'][aria-current]").wait_for()
        page.locator("#status", has_text="Saved").wait_for()
        times.append(page.evaluate("() => performance.now() - window.begun") / 1000)
        assert page.locator("#marks g.point[data-index]:visible").count() == 19
    print(f"from a film to its points: {', '.join(f'{one:.2f} s' for one in times)}")
    assert min(times[1:]) <= 1.5
    # A person marks all points of five films where they are, two millimetres lower.
    wanted = [points + np.array([0, 20]) for points in truths]
    for number in range(5):
        _, case = server.ask(f"/api/cases/film-{number}")
        changes = json.dumps({"points_px": wanted[number].tolist(), "checked": number > 0})
        address = f"/api/cases/film-{number}?revision={case['revision']}"
        assert server.ask(address, changes.encode(), "PUT")[0] == 200
    page.reload()
    page.wait_for_selector("body[data-ready]")
    page.locator("#cases button[data-case='film-0']").click()
    page.locator("#cases button[data-case='film-0'][aria-current]").wait_for()
    page.get_by_label("I have checked all points").check()
    page.get_by_text("5 of at least 3", exact=False).wait_for()
    page.get_by_role("button", name="Teach").click()
    page.get_by_role("progressbar", name="Teaching").wait_for()
    page.get_by_text("is ready to be chosen").wait_for(timeout=300_000)
    choice = page.get_by_label(re.compile("^taught-"))
    figures = page.locator("#networks label").nth(1).inner_text()
    before, after = (float(one) for one in re.findall(r"([0-9.]+) \[", figures))
    print(figures)
    assert after < before - 0.5
    choice.check()
    page.get_by_text("New films are found by this network").wait_for(timeout=120_000)
    _, automatic = server.ask("/api/cases/film-5")
    page.locator("#cases button[data-case='film-5']").click()
    page.locator("#cases button[data-case='film-5'][aria-current]").wait_for()
    page.get_by_role("button", name="Find the landmarks again").click()
    page.locator("#status", has_text="Saved").wait_for()
    _, again = server.ask("/api/cases/film-5")
    assert again["automatic"]["checkpoint"].startswith("taught-")
    errors = [
        np.linalg.norm(points_of(case) - wanted[5], axis=-1).mean() for case in (automatic, again)
    ]
    print(f"mean error on a film that was not taught: {errors[0]:.1f} px, then {errors[1]:.1f} px")
    assert errors[1] < errors[0] - 5
    page.close()


# Seconds from the drop of a film to the first frame with its points.
TIME = """async (content) => {
  const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "timed.png", { type: "image/png" }));
  const before = location.hash, begun = performance.now();
  document.querySelector("#stage").dispatchEvent(
    new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
  while (location.hash === before || document.querySelectorAll("#marks g.point").length < 19) {
    await new Promise(requestAnimationFrame);
  }
  await new Promise(requestAnimationFrame);
  return (performance.now() - begun) / 1000;
}"""


@pytest.mark.slow
def test_a_film_has_its_points_in_a_second_and_a_half(browser: Browser, server: Served) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"{server.address.replace('0.0.0.0', '127.0.0.1')}/?token={TOKEN}")
    page.wait_for_selector("body[data-ready]")
    taken_s = []
    for number in range(8):
        film, _ = draw(60 + number, (1935, 2400))
        taken_s.append(page.evaluate(TIME, base64.b64encode(film).decode()))
    context.close()
    print("seconds from film to points:", ", ".join(f"{one:.2f}" for one in taken_s))
    assert np.median(taken_s[2:]) <= 1.5


def saving(folder: str, pipe: Any) -> None:
    """Serve a folder of cases in a process that will be killed."""
    from tests.serving.server import make_server, serving

    with serving(make_server(Path(folder))) as address:
        pipe.send(address)
        time.sleep(60)


@pytest.mark.slow
def test_a_server_that_is_killed_while_saving_leaves_whole_cases(tmp_path: Path) -> None:
    import multiprocessing

    from cephray.landmarks import ISBI2015
    from cephray.serving.case import Found
    from cephray.serving.cases import CaseFolder, Pictures
    from tests.serving.server import facts

    folder = CaseFolder(tmp_path / "cases", ISBI2015)
    _, points = draw(0)
    folder.add("one.png", Pictures.of(np.zeros((600, 484), np.uint8)),
               Found(facts(points), "included"))  # fmt: skip
    folder.close()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.serving.server"])
    rng = np.random.default_rng(0)
    revision, saves, cut_off = 1, 0, 0
    for _ in range(100):
        own, theirs = context.Pipe()
        process = context.Process(target=saving, args=(str(folder.folder), theirs), daemon=True)
        process.start()
        address = own.recv()
        killing = threading.Timer(rng.uniform(0.01, 0.15), process.kill)
        killing.start()
        while True:
            changes = {"remarks": f"{saves} " + "x" * 1500, "points_px": (points + saves).tolist()}
            request = Request(
                f"{address}/api/cases/one?revision={revision}", json.dumps(changes).encode(),
                {"Content-Type": "application/json"}, method="PUT",
            )  # fmt: skip
            try:
                with urlopen(request, timeout=20) as answer:
                    revision = json.loads(answer.read())["revision"]
                    saves += 1
            except HTTPError as error:
                raise AssertionError(error.read()) from None
            except (OSError, HTTPException):  # the answer does not come, or not to its end
                break
        killing.join()
        process.join(20)
        case = json.loads((folder.folder / "one.json").read_text(encoding="utf-8"))
        # Whole, and what was answered is there; the last save may have been done unanswered.
        assert case["revision"] in (revision, revision + 1)
        assert len(case["landmarks"]) == 19
        assert case["remarks"].partition(" ")[0] in ("", str(saves - 1), str(saves))
        cut_off += case["revision"] > revision or any(folder.folder.glob(".one.json.*"))
        revision = case["revision"]
        saves += case["remarks"].startswith(f"{saves} ")
    print(f"{saves} saves, {cut_off} of 100 kills during one")
    assert saves > 100
    assert cut_off > 0


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--port", "70000"], 2, "--port must be 0 to 65535"),
        (["--replicas", "0"], 2, "--replicas must be at least 1"),
        (["--spacing", "-1"], 2, "--spacing must be above 0"),
        (["--max-waiting", "0"], 2, "--max-waiting must be above 0"),
        (["--checkpoint", "nothing"], 2, "nothing"),
        (["--host", "256.1.1.1"], 1, "cannot listen there"),
    ],
)
def test_options_that_cannot_be_used_are_a_line(
    options: Sequence[str], code: int, words: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(["serve", "--cases", str(tmp_path / "cases"), *options]) == code
    [line] = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_port_that_is_taken_is_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--cases", str(tmp_path / "cases"), "--port", port]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert f"--port {port}: cannot listen there" in line
    assert "0 for a free one" in line


def test_a_weak_token_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CEPHRAY_TOKEN", "short")
    options = ["--cases", str(tmp_path / "cases"), "--host", "0.0.0.0", "--port", "0"]
    assert main(["serve", *options]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "CEPHRAY_TOKEN must have 16 or more" in line


def test_without_the_extra_the_line_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "cephray.cli.serve.find_spec", lambda name: None if name == "fastapi" else name
    )
    assert main(["serve", "--cases", str(tmp_path / "cases")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "(fastapi): pip install 'cephray[serve]'" in line
    assert not (tmp_path / "cases").exists()
