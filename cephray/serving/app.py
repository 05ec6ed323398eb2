"""The routes of the server: the page, its cases, and `/predict` for other programs.

It knows HTTP and what each route asks of whom. Errors are JSON objects with one entry, `error`, a
sentence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from cephray import __version__
from cephray.errors import InputError, RunError
from cephray.serving.bodies import LateError, LongError, read_json
from cephray.serving.case import shown_name
from cephray.serving.cases import (
    ConflictError,
    NoCaseError,
    Pictures,
    SaveError,
    Window,
)
from cephray.serving.exports import export
from cephray.serving.pool import BusyError
from cephray.serving.server import Server
from cephray.serving.setup import describe
from cephray.serving.uploads import KindError, SizeError, film_of

PAGE = Path(__file__).with_name("page")

_STATUS: tuple[tuple[type[Exception], int], ...] = (  # the most special first
    (ConflictError, 409),
    (NoCaseError, 404),
    (KindError, 415),
    (SizeError, 413),
    (LongError, 413),
    (LateError, 408),
    (InputError, 400),
    (BusyError, 503),
    (SaveError, 507),
    (RunError, 500),
)
_FILM_BODY = {
    "requestBody": {
        "required": True,
        "description": "The content of a BMP, PNG, JPEG, TIFF, WebP or DICOM file.",
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
        },
    }
}
_JSON_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}

Spacing = Annotated[
    float | None, Query(description="millimetres per pixel, if the film does not know its own")
]


def build_app(server: Server) -> FastAPI:
    """Build the application.

    Args:
        server: what its routes share.
    """
    app = FastAPI(
        title="cephray",
        version=__version__,
        description="Landmarks of lateral cephalograms. For research; no medical device.",
        docs_url=None,  # FastAPI's page loads scripts from another server
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    _add_errors(app)
    _add_counts(app, server)
    _add_pages(app, server)
    _add_predict(app, server)
    _add_cases(app, server)
    _add_teaching(app, server)
    return app


def _add_errors(app: FastAPI) -> None:
    async def known(request: Request, error: Exception) -> JSONResponse:
        status = next(code for kind, code in _STATUS if isinstance(error, kind))
        content: dict[str, Any] = {"error": " ".join(str(error).split())}
        if isinstance(error, ConflictError):
            content["revision"] = error.revision
        headers = {"Retry-After": "5"} if status == 503 else None
        return JSONResponse(content, status, headers)

    async def of_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        said = {404: "there is nothing at this address", 405: "this address takes other methods"}
        return JSONResponse(
            {"error": said.get(error.status_code, error.detail)}, error.status_code
        )

    async def of_values(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        return JSONResponse({"error": f"{first['loc'][-1]}: {first['msg']}"}, 400)

    async def unknown(request: Request, error: Exception) -> JSONResponse:
        said = "the server made a mistake, which its terminal shows"
        return JSONResponse({"error": said}, 500)

    for kind in (InputError, RunError):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_values)
    app.add_exception_handler(Exception, unknown)


def _add_counts(app: FastAPI, server: Server) -> None:
    @app.middleware("http")
    async def count(
        request: Request, answer: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await answer(request)
        server.gauges.requests.labels(str(response.status_code)).inc()
        return response

    @app.get("/health", tags=["server"], summary="Whether replicas run")
    async def health() -> JSONResponse:
        running = await asyncio.to_thread(server.pool.running)
        content = {
            "status": "ok" if running else "no replica runs",
            "replicas": running,
            "of": server.pool.replicas,
            "waiting": server.waiting,
            "version": __version__,
        }
        return JSONResponse(content, 200 if running else 503)

    @app.get("/metrics", tags=["server"], summary="Counts for Prometheus")
    async def metrics() -> Response:
        server.gauges.replicas.set(await asyncio.to_thread(server.pool.running))
        return Response(server.gauges.text(), media_type="text/plain; version=0.0.4")


def _add_pages(app: FastAPI, server: Server) -> None:
    app.mount("/page", StaticFiles(directory=PAGE), name="page")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(PAGE / "api.html")

    @app.get("/api/setup", tags=["page"], summary="Landmark set, analyses and limits")
    async def setup() -> dict[str, Any]:
        return {
            **describe(server.cases.landmarks, server.analyses),
            "limits": {
                "megabytes": server.limits.megabytes,
                "megapixels": server.limits.megapixels,
            },
        }


def _add_predict(app: FastAPI, server: Server) -> None:
    @app.post(
        "/predict",
        tags=["prediction"],
        summary="Landmarks and measurements of a film",
        openapi_extra=_FILM_BODY,
    )
    async def predict(
        request: Request,
        spacing_mm: Spacing = None,
        name: Annotated[str, Query(description="of the film", max_length=500)] = "film",
    ) -> dict[str, Any]:
        server.enter()
        try:
            film = await server.read(await server.film(request), spacing_mm)
            found = await server.find(film, spacing_mm)
        finally:
            server.leave()
        return {**found.facts, "film": shown_name(name), "checkpoint": found.checkpoint}


def _add_cases(app: FastAPI, server: Server) -> None:
    cases = server.cases

    @app.get("/api/cases", tags=["cases"], summary="All cases")
    async def list_cases() -> JSONResponse:
        shown, damaged = await asyncio.to_thread(cases.summaries)
        return JSONResponse({"cases": shown, "damaged": damaged})

    @app.post("/api/cases", tags=["cases"], summary="Open a film", openapi_extra=_FILM_BODY)
    async def add(
        request: Request,
        name: Annotated[str, Query(description="file name of the film", max_length=500)],
        spacing_mm: Spacing = None,
    ) -> dict[str, Any]:
        server.enter()
        try:
            film = await server.read(await server.film(request), spacing_mm)
            pictures, found = await asyncio.gather(  # at a time, since a person waits
                asyncio.to_thread(Pictures.of, film.image), server.find(film, spacing_mm)
            )
        finally:
            server.leave()
        return await asyncio.to_thread(cases.add, name, pictures, found)

    @app.get("/api/cases/{name}", tags=["cases"], summary="A case")
    async def read(name: str) -> dict[str, Any]:
        return await asyncio.to_thread(cases.read, name)

    @app.put("/api/cases/{name}", tags=["cases"], summary="Change a case",
             openapi_extra=_JSON_BODY)  # fmt: skip
    async def change(
        name: str,
        request: Request,
        revision: Annotated[int, Query(description="that the change is based on")],
        window: Annotated[
            str, Query(description="that makes the change: an id of its own", max_length=40)
        ] = "",
        number: Annotated[int, Query(description="of the change among the window's")] = 0,
    ) -> dict[str, Any]:
        changes = await read_json(request, server.limits.seconds)
        by = Window(window, number) if window else None
        return await asyncio.to_thread(cases.change, name, revision, changes, by)

    @app.delete("/api/cases/{name}", tags=["cases"], summary="Remove a case and its film")
    async def remove(name: str) -> Response:
        await asyncio.to_thread(cases.remove, name)
        return Response(status_code=204)

    @app.post("/api/cases/{name}/predict", tags=["cases"], summary="Predict a case again")
    async def predict_again(name: str) -> dict[str, Any]:
        case = await asyncio.to_thread(cases.read, name)
        content = await asyncio.to_thread(cases.film(name).read_bytes)
        server.enter()
        try:
            film = await asyncio.to_thread(film_of, content, server.limits)
            found = await server.find(film, case["automatic"]["spacing_mm"])
        finally:
            server.leave()
        # The film that is kept has no spacing of its own: where it came from is known already.
        if case["automatic"]["spacing_mm"] is not None:
            found.facts["spacing_source"] = case["automatic"]["spacing_source"]
        return await asyncio.to_thread(cases.replace_automatic, name, found)

    @app.get("/api/cases/{name}/film.png", tags=["cases"], summary="The film of a case")
    async def film(name: str) -> FileResponse:
        return _file(cases.film(name))

    @app.get("/api/cases/{name}/thumbnail.jpg", tags=["cases"], summary="The film, small")
    async def thumbnail(name: str) -> FileResponse:
        return _file(cases.thumbnail(name))

    @app.get("/api/export", tags=["cases"], summary="Cases as files of other programs")
    async def take_away(
        to: Annotated[str, Query(description="csv, cephray, labelme, coco, measures or png")],
        case: Annotated[list[str] | None, Query(description="names; all if none is given")] = None,
        analysis: Annotated[list[str] | None, Query(description="of the measures")] = None,
    ) -> Response:
        names = case if case else await asyncio.to_thread(cases.names)
        analyses: list[str] = analysis if analysis else []
        file = await asyncio.to_thread(export, cases, names, to, analyses, server.analyses)
        headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
        return Response(file.content, media_type=file.media_type, headers=headers)


def _add_teaching(app: FastAPI, server: Server) -> None:
    @app.get("/api/checkpoints", tags=["teaching"], summary="Networks, and the one in use")
    async def checkpoints() -> dict[str, Any]:
        assert server.pool.network is not None
        return {
            "in_use": server.pool.network["name"],
            "changing": server.changing.locked(),
            "given": server.given["name"],
            "taught": await asyncio.to_thread(server.teaching.taught),
            "teaching": server.teaching.state,
        }

    @app.post("/api/checkpoints", tags=["teaching"], summary="Use a network",
              openapi_extra=_JSON_BODY)  # fmt: skip
    async def choose(request: Request) -> dict[str, Any]:
        name = (await read_json(request, server.limits.seconds)).get("name")
        if name is not None and not isinstance(name, str):
            raise InputError("name must be that of a taught network, or null for the given one")
        await server.choose(name)
        return await checkpoints()

    @app.post("/api/teaching", tags=["teaching"], summary="Teach the network by checked cases",
              openapi_extra=_JSON_BODY)  # fmt: skip
    async def teach(request: Request) -> dict[str, Any]:
        names = (await read_json(request, server.limits.seconds)).get("cases")
        if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
            raise InputError("cases must be a list of names of cases")
        return await asyncio.to_thread(server.teaching.start, names)


def _file(path: Path) -> FileResponse:
    if not path.is_file():
        raise NoCaseError(f"there is no film of the case {path.stem!r}")
    return FileResponse(path)
