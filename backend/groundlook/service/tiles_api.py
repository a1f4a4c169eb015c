"""`GET /tiles/{scene}/{column}_{row}_{width}_{height}.jpg?sig=…`: what Label Studio's editor shows; and
`GET /scenes/{scene}/quicklook.jpg?sig=…`: the whole scene, small.

No cookie and no token reaches an image, so the signature in the URL is the permission; and the editor asks with
`crossorigin=anonymous`, so every answer, an error too, carries `Access-Control-Allow-Origin`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import anyio
import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from groundlook import __version__
from groundlook.core.errors import Busy, GroundlookError, InvalidInput, NotAllowed, NotFound
from groundlook.core.geo import WindowPx

Render = Callable[[str, WindowPx, str], bytes]
"""(scene id, window, "jpg", "png" or "webp") → the picture file; for format "quicklook", with the window WHOLE, the
whole scene as JPEG. Raises NotFound for an unknown scene. Called in threads."""

Verify = Callable[[str, WindowPx, str, str], bool]
"""(scene id, window, format, signature) → whether the signature is ours."""

QUICKLOOK = "quicklook"
WHOLE: WindowPx = (0, 0, 0, 0)
"""Stands for the whole scene in a quick-look's signature; no tile has it."""

_NAME = re.compile(r"(\d{1,9})_(\d{1,9})_(\d{1,9})_(\d{1,9})\.(jpg|png|webp)", re.ASCII)
_MEDIA = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", QUICKLOOK: "image/jpeg"}
_STATUS = ((NotFound, 404), (NotAllowed, 403), (InvalidInput, 422), (Busy, 503))
_CORS = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
_PREFLIGHT = {
    **_CORS,
    "Access-Control-Allow-Methods": "GET, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "86400",
}
# The scene's id changes with its file and its render, so the picture behind a URL never does. Private: the URL is
# the permission.
_CACHE = "private, max-age=604800, immutable"
_READS = 8

log = logging.getLogger(__name__)


class Pictures(Protocol):
    """Where pictures are kept. Any of it may forget at any time."""

    def held(self, key: str) -> bytes | None:
        """From memory; never waits."""

    def get(self, key: str) -> bytes | None:
        """From wherever it is kept; called in threads."""

    def get_or_make(self, key: str, make: Callable[[], bytes]) -> bytes:
        """Made at most once at a time; called in threads."""


def tiles_router(render: Render, verify: Verify, pictures: Pictures, workers: int | None = None) -> APIRouter:
    """The picture routes. At most `workers` pictures are made at a time, in threads (None: two a core, because half
    of the time goes to reading); further ones wait their turn. A kept picture waits for none of them.
    `render`, `verify` and `pictures` come from `service/wiring`, which alone knows the adapters."""
    router = APIRouter()
    kept = _Kept(render, pictures, workers or 2 * (os.cpu_count() or 1))

    async def preflight(request: Request) -> Response:
        return Response(status_code=204, headers=_PREFLIGHT)

    async def tile(request: Request) -> Response:
        scene_id, name = request.path_params["scene_id"], request.path_params["name"]
        parsed = parse_name(name)
        if parsed is None:
            return _error(404, f"{name[:80]!r} is not a tile; its name is column_row_width_height.jpg")
        return await _signed(request, verify, kept, scene_id, *parsed)

    async def quicklook(request: Request) -> Response:
        return await _signed(request, verify, kept, request.path_params["scene_id"], WHOLE, QUICKLOOK)

    # Plain routes: what FastAPI does for typed parameters takes as long as all the rest of a kept picture.
    routes: tuple[tuple[str, Callable[[Request], Awaitable[Response]]], ...] = (
        ("/tiles/{scene_id}/{name}", tile),
        ("/scenes/{scene_id}/quicklook.jpg", quicklook),
    )
    for path, endpoint in routes:
        router.add_route(path, endpoint, methods=["GET"], include_in_schema=False)
        router.add_route(path, preflight, methods=["OPTIONS"], include_in_schema=False)
    return router


class _Kept:
    """Pictures, made where they are not kept."""

    def __init__(self, render: Render, pictures: Pictures, workers: int) -> None:
        self._render, self._pictures = render, pictures
        self._slots, self._reads = anyio.CapacityLimiter(workers), anyio.CapacityLimiter(_READS)

    async def picture(self, scene_id: str, window: WindowPx, fmt: str) -> bytes:
        key = f"{__version__}|{scene_id}|{window}|{fmt}"
        found = self._pictures.held(key)
        if found is None:
            found = await anyio.to_thread.run_sync(self._pictures.get, key, limiter=self._reads)
        if found is None:
            make = partial(self._render, scene_id, window, fmt)
            found = await anyio.to_thread.run_sync(self._pictures.get_or_make, key, make, limiter=self._slots)
        return found


async def _signed(request: Request, verify: Verify, kept: _Kept, scene_id: str, window: WindowPx, fmt: str) -> Response:
    if not verify(scene_id, window, fmt, request.query_params.get("sig", "")):
        return _error(403, "this tile URL was not signed by this backend; ingest the scene again for new ones")
    tag = _etag(scene_id, window, fmt)
    headers = {**_CORS, "ETag": tag, "Cache-Control": _CACHE}
    if _unchanged(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    try:
        body = await kept.picture(scene_id, window, fmt)
    except GroundlookError as error:
        return _error(_status(error), str(error))
    except Exception:
        log.exception("tile %s %s", scene_id[:64], window)
        return _error(500, "the tile could not be made; the backend's log says why")
    return Response(body, media_type=_MEDIA[fmt], headers=headers)


def parse_name(name: str) -> tuple[WindowPx, str] | None:
    """Window and format of a tile's file name, None for any other name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    column, row, width, height = (int(match[i]) for i in range(1, 5))
    return ((column, row, width, height), match[5]) if width and height else None


def _etag(scene_id: str, window: WindowPx, fmt: str) -> str:
    return f'"{hashlib.sha256(f"{scene_id}|{window}|{fmt}".encode()).hexdigest()[:32]}"'


def _unchanged(if_none_match: str, tag: str) -> bool:
    # Proxies turn a strong tag into a weak one (W/"…"); for If-None-Match both count (RFC 9110, 13.1.2).
    return tag in (part.strip().removeprefix("W/") for part in if_none_match.split(","))


def _status(error: GroundlookError) -> int:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status, headers={**_CORS, "Cache-Control": "no-store"})
