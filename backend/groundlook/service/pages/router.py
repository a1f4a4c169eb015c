"""`GET /scenes`: the connected projects; `GET /scenes?project=N`: its scenes, with the state of every tile."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import jinja2
from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse, Response

from groundlook.core.errors import GroundlookError, NotFound
from groundlook.service.app import STATUS
from groundlook.service.guard import guard
from groundlook.service.pages.drawing import MAX_LINKED, draw
from groundlook.service.pages.view import SPLIT_WORDS, STATE_WORDS, Board, ProjectView

SCENES_PER_PAGE = 48
_AT_ONCE = 2
_TEMPLATES = Path(__file__).parent / "templates"


def pages_router(board: Board, login: tuple[str, str] | None) -> APIRouter:
    """The pages; all ask for the HTTP Basic `login`, if there is one."""
    router = APIRouter(dependencies=[Depends(guard(login))])
    limiter = anyio.CapacityLimiter(_AT_ONCE)

    @router.get("/scenes", include_in_schema=False)
    async def scenes(project: str | None = None, page: str = "1") -> Response:
        try:
            if project is None:
                links = await anyio.to_thread.run_sync(board.projects, limiter=limiter)
                return _page("projects.html", projects=links)
            number = _number(project)
            view = await anyio.to_thread.run_sync(board.project, number, limiter=limiter)
            return await anyio.to_thread.run_sync(_project, view, page, limiter=limiter)
        except GroundlookError as error:
            status = next((s for kind, s in STATUS.items() if isinstance(error, kind)), 500)
            return _page("error.html", status, message=str(error))

    return router


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NotFound(f"project {text[:40]!r} is not a number; choose one from the list of projects")
    return int(text)


def _project(view: ProjectView, page: str) -> Response:
    pages = max(1, -(-len(view.scenes) // SCENES_PER_PAGE))
    at = min(max(1, int(page) if page.isascii() and page.isdigit() and len(page) < 9 else 1), pages)
    shown = view.scenes[(at - 1) * SCENES_PER_PAGE : at * SCENES_PER_PAGE]
    left, drawn = 2 * MAX_LINKED, []
    for scene in shown:  # what all scenes of a page draw is bounded too
        drawing = draw(scene, min(MAX_LINKED, left))
        left -= len(drawing.linked)
        drawn.append((scene, drawing))
    return _page("project.html", project=view, scenes=drawn, counts=view.counts, at=at, pages=pages)


def _page(template: str, status: int = 200, **values: Any) -> Response:
    style = _style()
    words = {"states": STATE_WORDS, "splits": SPLIT_WORDS, "style": style}
    html = _environment().get_template(template).render(**words, **values)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src 'self'; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",  # the page's address stays out of other sites' logs
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(html, status, headers)


@lru_cache(maxsize=1)
def _style() -> str:
    return (_TEMPLATES / "style.css").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:,}"
    environment.filters["metres"] = _metres
    return environment


def _metres(value: float) -> str:
    """Ground resolution in a handy unit."""
    if value < 1:
        return f"{value * 100:.3g} cm"
    return f"{value:.3g} m" if value < 1000 else f"{value / 1000:.3g} km"
