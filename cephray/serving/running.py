"""The server from start to stop: replicas, HTTP server, address, token, signals.

It knows no routes.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn

from cephray.checkpoint import open_checkpoints
from cephray.clinical import Analysis
from cephray.cluster import connected, stop_signals
from cephray.errors import InputError, RunError
from cephray.landmarks import landmark_set
from cephray.progress import quiet_stderr
from cephray.serving.app import build_app
from cephray.serving.cases import CaseFolder
from cephray.serving.connections import Connection
from cephray.serving.guard import Guard, is_loopback
from cephray.serving.pool import Pool, start_serve, stop_serve
from cephray.serving.replica import Network
from cephray.serving.server import Server
from cephray.serving.setup import own_analyses
from cephray.serving.teaching import Teaching
from cephray.serving.uploads import Limits

TOKEN_VARIABLE = "CEPHRAY_TOKEN"

_FINISH_S = 8  # for requests in flight, when the server ends
_STOP_S = 10.0
_POLL_S = 0.5


def serve_cases(
    folder: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    checkpoints: Sequence[str] = (),
    overrides: Sequence[str] = (),
    replicas: int = 1,
    spacing_mm: float | None = None,
    limits: Limits = Limits(),  # noqa: B008 - it is frozen
    analyses: Sequence[str] = (),
    show: Callable[[str], None] = print,
) -> None:
    """Serve the page until a signal ends it.

    Args:
        folder: of the cases; it is created if it does not exist.
        host: address or name to listen on. All but this machine's own needs a token, which is
            that of the environment variable `CEPHRAY_TOKEN`, or a random one. If the variable is
            set, this machine's own needs it too.
        port: to listen on; 0 takes a free one.
        checkpoints: paths or URIs; several make an ensemble. If empty, the network that was last
            chosen on the page, or the included one.
        overrides: `inference.key=value` each.
        replicas: number of networks that work at a time.
        spacing_mm: millimetres per pixel of films that do not know their own, or None.
        limits: of what is taken.
        analyses: paths of YAML files with analyses of the user.
        show: takes lines for the user: the address, for example.

    Raises:
        InputError: an option, a checkpoint or the folder cannot be used.
        RunError: the port is taken, or the replicas did not start.
        Stopped: by a signal; the cases are saved.
    """
    found = open_checkpoints(list(checkpoints) or None, overrides)
    cases = CaseFolder(folder, landmark_set(found[0].config.data.landmarks))
    try:
        own = own_analyses(analyses, cases.landmarks)
        with _listen(host, port) as listener:
            _serve(
                cases, listener, host, checkpoints, overrides, replicas, spacing_mm, limits, own,
                show,
            )  # fmt: skip
    finally:
        cases.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise RunError(
            f"--host {host} --port {port}: cannot listen there ({error.strerror}); give another"
            " --port, or 0 for a free one"
        ) from None


def _serve(
    cases: CaseFolder,
    listener: socket.socket,
    host: str,
    checkpoints: Sequence[str],
    overrides: Sequence[str],
    replicas: int,
    spacing_mm: float | None,
    limits: Limits,
    analyses: tuple[Analysis, ...],
    show: Callable[[str], None],
) -> None:
    given: Network = {
        "name": ", ".join(Path(one).name for one in checkpoints) or "included",
        "checkpoints": list(checkpoints) or None,
        "overrides": list(overrides),
    }
    teaching = Teaching(cases, checkpoints)
    network, chosen = given, None if checkpoints else teaching.chosen
    if chosen is not None:
        path = str(teaching.path(chosen).resolve())
        network = {**given, "name": chosen, "checkpoints": [path]}
    token = None if is_loopback(host) and TOKEN_VARIABLE not in os.environ else _token()
    pool = Pool(replicas)
    with connected(verbose=False, show=show, dashboard=False), stop_signals() as request:
        try:
            show("starting the network, which takes about half a minute")
            start_serve()
            pool.start(network)
            server = Server(cases, pool, teaching, given, limits, spacing_mm, analyses)
            http = http_server(server, token)
            thread = threading.Thread(
                target=http.run, args=([listener],), name="cephray-http", daemon=True
            )
            thread.start()
            address = f"http://{_in_address(host)}:{listener.getsockname()[1]}/"
            show(f"cases in {cases.folder}; stop with Ctrl-C")
            show(f"open {address}" if token is None else f"open {address}?token={token}")
            request.can_wait = True
            while request.signal is None and thread.is_alive():
                thread.join(_POLL_S)
            http.should_exit = True
            thread.join(_STOP_S)
        finally:
            teaching.stop()
            with quiet_stderr():  # of Ray, whose processes end in any order
                stop_serve()
    if request.signal is None:
        raise RunError("the HTTP server ended by itself; its messages stand above")
    raise request.stopped(f"and the server ended; the cases are in {cases.folder}")


def http_server(server: Server, token: str | None) -> uvicorn.Server:
    """Return the HTTP server of the routes, which is to be run with a socket.

    Args:
        server: what the routes share.
        token: that requests must have, or None if none is asked for.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # warnings tell of each bad request
    return uvicorn.Server(
        uvicorn.Config(
            Guard(build_app(server), token, server.limits.waiting * 4 + 64),
            http=Connection,
            ws="none",
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_FINISH_S,
        )
    )


def _token() -> str:
    """Return the token of the environment, or a random one."""
    given = os.environ.get(TOKEN_VARIABLE)
    if given is None:
        return secrets.token_urlsafe(24)
    if len(given) < 16 or not given.isascii() or not given.isprintable() or " " in given:
        raise InputError(
            f"{TOKEN_VARIABLE} must have 16 or more letters, digits and signs without spaces; or"
            " leave it out for a random token"
        )
    return given


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host
