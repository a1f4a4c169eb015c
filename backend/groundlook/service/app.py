"""The HTTP service: routes, body limit, and one table from errors to answers."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from groundlook import __version__
from groundlook.core.errors import (
    Busy,
    Cancelled,
    Conflict,
    EmptyPool,
    GroundlookError,
    InvalidInput,
    LabelStudioError,
    NotAllowed,
    NotFound,
)
from groundlook.loop import Loop
from groundlook.service.labelstudio_api import Wire, labelstudio_router
from groundlook.service.metrics import REGISTRY, LoopCollector

log = logging.getLogger("groundlook.service")

STATUS: dict[type[GroundlookError], int] = {
    InvalidInput: 422,
    NotAllowed: 403,
    NotFound: 404,
    Cancelled: 409,
    Conflict: 409,
    EmptyPool: 409,
    Busy: 503,
    LabelStudioError: 502,
}


def create_app(
    loop: Loop,
    wire: Wire,
    tiles: APIRouter,
    login: tuple[str, str] | None,
    max_body: int,
    warm: Callable[[], None],
    pages: APIRouter | None = None,
) -> FastAPI:
    """The application. `max_body`: bytes. `pages`: for people; none leaves them out. `warm` runs before the first
    request: imports that would outlast the 1 to 3 s that Label Studio waits."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        warm()
        yield

    app = FastAPI(title="Groundlook", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(BodyLimit, limit=max_body)
    app.add_exception_handler(GroundlookError, _explain)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(Exception, _crash)
    app.include_router(labelstudio_router(loop, wire, login))
    app.include_router(tiles)
    if pages is not None:
        app.include_router(pages)
    collected = CollectorRegistry()
    collected.register(LoopCollector(loop))

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(REGISTRY) + generate_latest(collected), media_type=CONTENT_TYPE_LATEST)

    return app


async def _explain(request: Request, error: Exception) -> JSONResponse:
    status = next((s for kind, s in STATUS.items() if isinstance(error, kind)), 500)
    log.info("%s %s: %s %s", request.method, request.url.path, status, error)
    return JSONResponse({"error": str(error)}, status)


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 (narrows for the type checker)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _crash(request: Request, error: Exception) -> JSONResponse:
    log.exception("%s %s", request.method, request.url.path, exc_info=error)
    return JSONResponse({"error": "internal error; the service's log says more"}, 500)


class BodyLimit:
    """Refuses larger bodies with 413, counted as they arrive: a client may leave out or forge Content-Length."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._limit:
            await self._too_large()(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise HTTPException(413, self._sentence())
            return message

        await self._app(scope, counted, send)

    def _sentence(self) -> str:
        return f"the body is over {self._limit} bytes; send fewer tasks, or raise GROUNDLOOK_MAX_BODY_MB"

    def _too_large(self) -> JSONResponse:
        return JSONResponse({"error": self._sentence()}, 413)
