"""`GET /tiles/{scene}/{column}_{row}_{width}_{height}.jpg?sig=…`: what Label Studio's editor shows.

No cookie and no token reaches an image, so the signature in the URL is the permission; and the editor asks with
`crossorigin=anonymous`, so every answer, an error too, carries `Access-Control-Allow-Origin`.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable

import anyio
import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from groundlook.core.errors import Busy, GroundlookError, InvalidInput, NotAllowed, NotFound
from groundlook.core.geo import WindowPx

Render = Callable[[str, WindowPx, str], bytes]
"""(scene id, window, "jpg" or "png") → the picture file. Raises NotFound for an unknown scene. Called in threads."""

Verify = Callable[[str, WindowPx, str, str], bool]
"""(scene id, window, format, signature) → whether the signature is ours."""

_NAME = re.compile(r"(\d{1,9})_(\d{1,9})_(\d{1,9})_(\d{1,9})\.(jpg|png)", re.ASCII)
_MEDIA = {"jpg": "image/jpeg", "png": "image/png"}
_STATUS = ((NotFound, 404), (NotAllowed, 403), (InvalidInput, 422), (Busy, 503))
_CORS = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
_PREFLIGHT = {
    **_CORS,
    "Access-Control-Allow-Methods": "GET, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "86400",
}
# The scene's id changes with its file, so the picture behind a URL never does. Private: the URL is the permission.
_CACHE = "private, max-age=604800, immutable"

log = logging.getLogger(__name__)


def tiles_router(render: Render, verify: Verify, workers: int = 4) -> APIRouter:
    """The tile routes. At most `workers` pictures are made at a time, in threads; further requests wait their turn.
    `render` and `verify` come from `service/wiring`, which alone knows the adapters."""
    router = APIRouter()
    slots = anyio.CapacityLimiter(workers)

    @router.options("/tiles/{scene_id}/{name}", include_in_schema=False)
    async def preflight(scene_id: str, name: str) -> Response:
        return Response(status_code=204, headers=_PREFLIGHT)

    @router.get("/tiles/{scene_id}/{name}")
    async def tile(request: Request, scene_id: str, name: str, sig: str = "") -> Response:
        parsed = parse_name(name)
        if parsed is None:
            return _error(404, f"{name[:80]!r} is not a tile; its name is column_row_width_height.jpg")
        window, fmt = parsed
        if not verify(scene_id, window, fmt, sig):
            return _error(403, "this tile URL was not signed by this backend; ingest the scene again for new ones")
        tag = _etag(scene_id, window, fmt)
        headers = {**_CORS, "ETag": tag, "Cache-Control": _CACHE}
        if _unchanged(request.headers.get("if-none-match", ""), tag):
            return Response(status_code=304, headers=headers)
        try:
            body = await anyio.to_thread.run_sync(render, scene_id, window, fmt, limiter=slots)
        except GroundlookError as error:
            return _error(_status(error), str(error))
        except Exception:
            log.exception("tile %s %s", scene_id[:64], window)
            return _error(500, "the tile could not be made; the backend's log says why")
        return Response(body, media_type=_MEDIA[fmt], headers=headers)

    return router


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
