"""Our own service, as Label Studio would call it."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from groundlook import __version__
from groundlook.service.finding import Finding, fail, fine, skip, warn
from groundlook.service.settings import Settings

TIMEOUT = httpx.Timeout(5.0, connect=2.0)
START = "start it: groundlook serve; or set GROUNDLOOK_URL to where it is"


def health(settings: Settings) -> Finding:
    """GET /health answers, and it is Groundlook of this version that does."""
    body = _ask(settings, "/health")
    if isinstance(body, str):
        return fail(f"{settings.url} {body}", START)
    if body.status_code != 200 or "Groundlook" not in body.text:
        return fail(f"{settings.url}/health answered {body.status_code}, and not as Groundlook", START)
    version = body.json().get("version")
    if version != __version__:
        return warn(f"{settings.url} runs {version}, this is {__version__}", "start the service again")
    return fine(f"{settings.url} is up, version {version}")


def login(settings: Settings) -> Finding:
    """A guarded route takes the login of these settings, and no other."""
    body = _ask(settings, "/versions", settings.login)
    if isinstance(body, str):
        return skip(f"{settings.url} {body}")
    if body.status_code == 401:
        return fail(
            "the service refuses the login of these settings",
            "start the service with the same GROUNDLOOK_USER and GROUNDLOOK_PASSWORD as this command",
        )
    if body.status_code != 200:
        return fail(f"{settings.url}/versions answered {body.status_code}: {body.text[:200]}", "see the service's log")
    bare = _ask(settings, "/versions")
    if settings.login and not isinstance(bare, str) and bare.status_code == 200:
        return warn(
            "the service asks nobody for a login, though these settings have one",
            "start it again with GROUNDLOOK_USER and GROUNDLOOK_PASSWORD",
        )
    return fine("the login is asked for and accepted" if settings.login else "no login is asked for")


def _ask(settings: Settings, path: str, login: tuple[str, str] | None = None) -> httpx.Response | str:
    try:
        return httpx.get(settings.url + path, auth=login, timeout=TIMEOUT, trust_env=False)
    except httpx.InvalidURL:
        return "is not a URL"
    except httpx.HTTPError as error:
        return f"does not answer ({type(error).__name__})"


SERVICE_CHECKS: tuple[tuple[str, str, Callable[[Settings], Finding]], ...] = (
    ("service", START, health),
    ("login", "see the service's log", login),
)
"""Name, remedy where the check itself breaks, check."""
