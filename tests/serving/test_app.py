from __future__ import annotations

import errno
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from cephray.serving.app import build_app
from cephray.serving.case import points_of
from cephray.serving.pool import BusyError
from cephray.serving.server import Server
from cephray.serving.uploads import Limits
from tests.serving.hostile import HOSTILE, LIMIT_MB, dicom
from tests.serving.server import KnowingPool, draw, make_server

FILM, POINTS = draw(1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = make_server(tmp_path / "cases", Limits(megabytes=LIMIT_MB, waiting=2), 0.4)
    assert isinstance(made.pool, KnowingPool)
    made.pool.teach(FILM, POINTS)
    yield made
    made.cases.close()


@pytest.fixture
def client(server: Server) -> TestClient:
    return TestClient(build_app(server), raise_server_exceptions=False)


def opened(client: TestClient, name: str = "one.png") -> dict[str, Any]:
    answer = client.post("/api/cases", params={"name": name}, content=FILM)
    assert answer.status_code == 200, answer.text
    case: dict[str, Any] = answer.json()
    return case


def test_a_film_is_predicted(client: TestClient) -> None:
    answer = client.post("/predict?name=one.png&spacing_mm=0.25", content=FILM)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["film"], found["spacing_mm"], found["checkpoint"]) == (
        "one.png", 0.25, "included",
    )  # fmt: skip
    placed = [(point["x_px"], point["y_px"]) for point in found["landmarks"]]
    assert np.allclose(placed, POINTS, atol=0.006)
    assert client.post("/predict", content=FILM).json()["spacing_mm"] == 0.4  # the server's own


@pytest.mark.parametrize("path", ["/predict?", "/api/cases?"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(
    name: str, path: str, client: TestClient, server: Server
) -> None:
    content, status, words = HOSTILE[name]
    before = sorted(server.cases.folder.rglob("*"))
    answer = client.post(path, params={"name": name}, content=content)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]
    assert sorted(server.cases.folder.rglob("*")) == before
    assert client.post("/predict", content=FILM).status_code == 200


@pytest.mark.parametrize("spacing", ["0", "-1", "nan", "inf", "x", ""])
def test_impossible_spacings_are_refused(spacing: str, client: TestClient) -> None:
    answer = client.post("/predict", params={"spacing_mm": spacing}, content=FILM)
    assert answer.status_code == 400
    assert "spacing_mm" in answer.json()["error"]


def test_more_films_than_allowed_are_refused_and_later_ones_taken(
    client: TestClient, server: Server
) -> None:
    assert isinstance(server.pool, KnowingPool)
    server.pool.wait.clear()
    statuses: list[int] = []
    with client:  # one event loop for all
        threads = [
            threading.Thread(
                target=lambda: statuses.append(client.post("/predict", content=FILM).status_code)
            )
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        while server.waiting < 2:
            pass
        answer = client.post("/predict", content=FILM)
        server.pool.wait.set()
        for thread in threads:
            thread.join(30)
        assert answer.status_code == 503
        assert "2 films are being predicted" in answer.json()["error"]
        assert answer.headers["retry-after"] == "5"
        assert statuses == [200, 200]
        assert client.post("/predict", content=FILM).status_code == 200


def test_a_network_that_does_not_answer_is_said(
    client: TestClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any) -> dict[str, Any]:
        raise BusyError("no answer of the network within 60 s; try again later")

    monkeypatch.setattr(server.pool, "predict", never)
    answer = client.post("/predict", content=FILM)
    assert (answer.status_code, server.waiting) == (503, 0)
    assert answer.json()["error"].startswith("no answer of the network")


def test_a_case_is_opened_changed_and_removed(client: TestClient) -> None:
    case = opened(client)
    assert client.get("/api/cases").json()["cases"][0]["film"] == "one"
    points = case["automatic"]["points_px"]
    points[0] = [1.5, 2.5]
    changed = client.put("/api/cases/one?revision=1", json={"points_px": points})
    assert changed.status_code == 200
    assert client.get("/api/cases/one").json() == changed.json()
    assert points_of(changed.json())[0].tolist() == [1.5, 2.5]
    stale = client.put("/api/cases/one?revision=1", json={"checked": True})
    assert stale.status_code == 409
    assert stale.json()["revision"] == 2
    assert client.get("/api/cases/one/film.png").headers["content-type"] == "image/png"
    assert client.get("/api/cases/one/thumbnail.jpg").headers["content-type"] == "image/jpeg"
    again = client.post("/api/cases/one/predict").json()
    assert again["landmarks"][0]["x_px"] == 1.5
    assert client.delete("/api/cases/one").status_code == 204
    assert client.get("/api/cases/one").status_code == 404
    assert client.get("/api/cases/one/film.png").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/api/cases/..", "/api/cases/%2e%2e", "/api/cases/..%2f..%2fetc%2fpasswd",
     "/api/cases/../../etc/passwd/film.png", "/page/../cases.py", "/page/%2e%2e/cases.py",
     "/page/..%2f..%2f..%2fpyproject.toml", "/page//etc/passwd", "/api/cases/x/film.png"],
)  # fmt: skip
def test_no_path_leads_out_of_the_folders(path: str, client: TestClient) -> None:
    answer = client.get(path)
    assert answer.status_code in (404, 405)
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"{", "application/json"), (b"[]", "application/json"), (b"[" * 100000, "application/json"),
     (b"{}", "text/plain"), (b"\xff\xfe", "application/json"),
     (b'{"points_px": NaN}', "application/json")],
)  # fmt: skip
def test_bodies_that_are_no_json_are_refused(body: bytes, kind: str, client: TestClient) -> None:
    opened(client)
    answer = client.put("/api/cases/one?revision=1", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert client.get("/api/cases/one").json()["revision"] == 1


def test_a_long_json_body_is_refused(client: TestClient) -> None:
    opened(client)
    answer = client.put("/api/cases/one?revision=1", json={"remarks": "x" * 1_100_000})
    assert answer.status_code == 413


def test_an_unknown_mistake_is_a_sentence_without_details(
    client: TestClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.cases, "names", lambda: 1 / 0)
    answer = client.get("/api/export?to=csv")
    assert answer.status_code == 500
    assert answer.json() == {"error": "the server made a mistake, which its terminal shows"}


def test_a_full_disk_is_a_status_of_its_own(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, content: bytes, durable: bool) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cephray.serving.cases.replace_bytes", write)
    answer = client.post("/api/cases?name=one.png", content=FILM)
    assert answer.status_code == 507
    assert "No space left" in answer.json()["error"]


def test_a_dicom_film_keeps_its_spacing_and_loses_its_names(
    client: TestClient, server: Server
) -> None:
    content = dicom(600, 484, pixels=600 * 484, PixelSpacing=[0.35, 0.35])
    assert b"Secret^Name" in content
    case = client.post("/api/cases?name=one.dcm", content=content).json()
    assert case["spacing_mm"] == pytest.approx(0.35)
    files = [path for path in server.cases.folder.rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert not any(b"Secret" in path.read_bytes() for path in files)


def test_health_and_metrics_count(client: TestClient) -> None:
    client.post("/predict", content=FILM)
    health = client.get("/health").json()
    assert (health["status"], health["replicas"], health["waiting"]) == ("ok", 1, 0)
    text = client.get("/metrics").text
    assert "cephray_prediction_seconds_count 1.0" in text
    assert 'cephray_requests_total{status="200"} 2.0' in text
    assert "cephray_replicas 1.0" in text


def test_the_page_and_the_description_load_nothing_from_elsewhere(client: TestClient) -> None:
    page = Path(__file__).parents[2] / "cephray/serving/page"
    for file in page.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text, file
        assert "https:" not in text, file
        assert client.get(f"/page/{file.name}").status_code == 200
    for path in ("/", "/docs"):
        assert client.get(path).headers["content-type"].startswith("text/html")
    described = client.get("/openapi.json").json()
    assert {"/predict", "/health", "/metrics", "/api/cases/{name}"} <= described["paths"].keys()
    body = described["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert list(body) == ["application/octet-stream"]


def test_networks_are_listed_and_chosen(client: TestClient, server: Server) -> None:
    folder = server.cases.folder / "checkpoints" / "taught-1"
    folder.mkdir(parents=True)
    (folder / "adaptation.json").write_text(json.dumps({"films": ["one"]}), encoding="utf-8")
    (server.cases.folder / "checkpoints" / "unfinished").mkdir()
    listed = client.get("/api/checkpoints").json()
    assert listed["in_use"] == listed["given"] == "included"
    assert [one["name"] for one in listed["taught"]] == ["taught-1"]
    chosen = client.post("/api/checkpoints", json={"name": "taught-1"}).json()
    assert chosen["in_use"] == "taught-1"
    assert isinstance(server.pool, KnowingPool)
    assert server.pool.started[-1]["checkpoints"] == [str(folder.resolve())]
    assert server.teaching.chosen == "taught-1"
    assert client.post("/predict", content=FILM).json()["checkpoint"] == "taught-1"
    for name in ("unfinished", "../..", "x", 3):
        assert client.post("/api/checkpoints", json={"name": name}).status_code == 400
    assert client.post("/api/checkpoints", json={"name": None}).json()["in_use"] == "included"


def test_films_that_are_not_checked_teach_nothing(client: TestClient) -> None:
    opened(client)
    answer = client.post("/api/teaching", json={"cases": ["one"]})
    assert answer.status_code == 400
    assert "at least 3" in answer.json()["error"]
    assert client.post("/api/teaching", json={"cases": "one"}).status_code == 400


def test_a_body_that_does_not_come_in_time_is_refused(tmp_path: Path) -> None:
    import socket

    from tests.serving.server import serving

    server = make_server(tmp_path / "cases", Limits(seconds=0.5))
    with serving(server) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(
                f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99\r\n\r\nabc".encode()
            )
            answer = io.BytesIO(connection.recv(4096)).readline()
    assert b" 408 " in answer
    assert server.waiting == 0
