"""Who may ask, and how much: the checks before any route, as an ASGI middleware.

A server on 127.0.0.1 answers to that name alone, so that no page of another site can reach it
through a name of its own (DNS rebinding), and takes no change from other sites' pages. A server
with a token answers to any name, since no other page knows the token.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "cephray_token"

_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src 'self' blob: data:; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # films are in no browser's cache
}


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens on an address or name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """The checks before an application.

    Args:
        app: the application.
        token: that requests must have, or None if none is asked for.
        most: number of requests at a time; more are refused.
    """

    def __init__(self, app: ASGIApp, token: str | None, most: int) -> None:
        self._app = app
        self._token = token
        self._most = most
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        answer = self._answer(scope, headers)
        self._open += 1
        try:
            await (answer or self._app)(scope, receive, send_guarded)
        finally:
            self._open -= 1

    def _answer(self, scope: Scope, headers: Headers) -> Response | None:
        """Return why a request is refused, or the page's cookie, or None if it may go on."""
        if self._open >= self._most:
            refusal = _refusal(503, f"{self._open} requests are being answered; try again later")
            refusal.headers["Retry-After"] = "5"
            return refusal
        host = _name_of(headers.get("host", ""))
        if self._token is None and not is_loopback(host):
            return _refusal(421, "this server answers to 127.0.0.1 and localhost alone")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != headers.get("host"):
            return _refusal(403, "requests of other sites' pages are refused")
        if self._token is None:
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if given and self._is_token(given) and scope["path"] == "/":
            # Out of the address, where it would stay in the browser's history.
            redirect = RedirectResponse("/", status_code=303)
            secure = scope.get("scheme") == "https"  # by a proxy on this machine
            redirect.set_cookie(COOKIE, given, httponly=True, samesite="strict", secure=secure)
            return redirect
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if self._is_token(bearer) or self._is_token(_cookie(headers.get("cookie", ""))):
            return None
        return _refusal(
            401,
            "a token is needed: open the address that `cephray serve` printed, or send the header"
            " `Authorization: Bearer TOKEN`",
        )

    def _is_token(self, given: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode())


def _name_of(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _cookie(header: str) -> str:
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _refusal(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status)
