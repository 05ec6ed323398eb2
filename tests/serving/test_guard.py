from __future__ import annotations

from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from cephray.serving.guard import COOKIE, Guard, is_loopback

TOKEN = "a-token-of-this-test"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("film")(scope, receive, send)


def client(token: str | None, address: str = "http://127.0.0.1:8000") -> TestClient:
    return TestClient(Guard(answer, token, 9), base_url=address, follow_redirects=False)


@pytest.mark.parametrize("name", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000", "127.0.0.2"])
def test_a_local_server_answers_to_local_names(name: str) -> None:
    assert client(None, f"http://{name}").get("/").text == "film"


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example:8000", "192.168.1.2"])
def test_a_local_server_answers_to_no_other_name(name: str) -> None:
    refused = client(None, f"http://{name}").get("/")
    assert refused.status_code == 421
    assert "127.0.0.1" in refused.json()["error"]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9", "http://[", ""]
)
def test_pages_of_other_sites_are_refused(origin: str) -> None:
    asked = client(None).post("/predict", headers={"Origin": origin})
    assert asked.status_code == 403
    assert asked.json() == {"error": "requests of other sites' pages are refused"}


def test_its_own_page_may_ask() -> None:
    asked = client(None).post("/predict", headers={"Origin": "http://127.0.0.1:8000"})
    assert asked.text == "film"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": TOKEN + "x"},
        {"Authorization": "Bearer "},
        {"Cookie": f"{COOKIE}=wrong"},
        {"Cookie": "=;=;\x01"},
    ],
)
def test_without_the_token_all_is_refused(headers: dict[str, str]) -> None:
    asked = client(TOKEN, "http://192.168.1.2:8000").get("/predict?token=wrong", headers=headers)
    assert asked.status_code == 401
    assert "token is needed" in asked.json()["error"]


def test_the_token_opens_as_header_and_becomes_a_cookie() -> None:
    asking = client(TOKEN, "http://192.168.1.2:8000")
    header = {"Authorization": f"Bearer {TOKEN}"}
    assert asking.get("/predict", headers=header).text == "film"
    assert asking.get(f"/predict?token={TOKEN}").status_code == 401  # in the page's address alone
    redirect = asking.get(f"/?token={TOKEN}")
    assert (redirect.status_code, redirect.headers["location"]) == (303, "/")
    cookie = redirect.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie
    assert asking.get("/predict").text == "film"


def test_behind_a_proxy_with_tls_the_cookie_is_sent_by_tls_alone() -> None:
    redirect = client(TOKEN, "https://films.example").get(f"/?token={TOKEN}")
    assert "; secure" in redirect.headers["set-cookie"].lower()


def test_every_answer_keeps_other_sites_out() -> None:
    for asked in (client(None).get("/"), client(TOKEN).get("/")):
        assert "script-src 'self'" in asked.headers["content-security-policy"]
        assert "default-src 'none'" in asked.headers["content-security-policy"]
        assert asked.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.2", False), ("example.org", False)],
)  # fmt: skip
def test_only_this_machine_needs_no_token(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_more_requests_than_allowed_are_refused_like_others() -> None:
    inner: list[Any] = []

    async def asks_again(scope: Scope, receive: Receive, send: Send) -> None:
        inner.append(TestClient(guard, base_url="http://127.0.0.1").get("/"))
        await answer(scope, receive, send)

    guard = Guard(asks_again, None, 1)
    for _ in range(2):
        assert TestClient(guard, base_url="http://127.0.0.1").get("/").text == "film"
    refused = inner.pop()
    assert refused.status_code == 503
    assert refused.json() == {"error": "1 requests are being answered; try again later"}
    assert refused.headers["retry-after"] == "5"
    assert "content-security-policy" in refused.headers
