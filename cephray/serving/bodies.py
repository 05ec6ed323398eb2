"""Bodies of requests, read within limits of size and time.

It knows bytes and JSON, and nothing of films.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import ClientDisconnect, Request

from cephray.errors import InputError

_LONGEST_JSON = 1_000_000  # bytes


class LateError(InputError):
    """Raised if a body did not come in time."""


class LongError(InputError):
    """Raised if a body is too long."""


async def read_body(request: Request, most_bytes: int, seconds: float) -> bytes:
    """Read the body of a request.

    Args:
        request: the request.
        most_bytes: largest size.
        seconds: longest time.

    Raises:
        LongError: it is longer. Up to as much again is read and dropped: a browser shows an
            answer only once it has sent all.
        LateError: it did not come in time, or not to its end.
    """
    try:
        return await asyncio.wait_for(_read(request, most_bytes), seconds)
    except (asyncio.TimeoutError, TimeoutError):
        raise LateError(f"the file did not come within {seconds:g} s; send it again") from None
    except ClientDisconnect:
        raise LateError("the connection ended before the file did; send it again") from None


async def read_json(request: Request, seconds: float) -> dict[str, Any]:
    """Read a JSON object; see `read_body`.

    Raises:
        InputError: the body is no JSON object.
    """
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise InputError("send JSON, with the header `Content-Type: application/json`")
    body = await read_body(request, _LONGEST_JSON, seconds)
    try:
        tree = json.loads(body)
    except (ValueError, RecursionError):
        raise InputError("the body is not valid JSON") from None
    if not isinstance(tree, dict):
        raise InputError("the body must be a JSON object")
    return tree


async def _read(request: Request, most_bytes: int) -> bytes:
    parts: list[bytes] = []
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total <= most_bytes:
            parts.append(chunk)
        else:
            parts.clear()
        if total > 2 * most_bytes:
            break
    if total > most_bytes:
        raise LongError(f"the body has more than {most_bytes / 1e6:g} MB; send less")
    return b"".join(parts)
