"""HTTP Basic: who may ask.

The bytes of a login are compared, not its letters, for nobody says how they are written: Label Studio sends the same
password in Latin-1 to /predict (requests) and, in the webhook's header that `connect` gives it, in UTF-8.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

from fastapi import HTTPException, Request


def guard(login: tuple[str, str] | None) -> Callable[[Request], Awaitable[None]]:
    """A dependency that answers 401 to whoever doesn't send `login`, (user, password); None lets everybody in."""
    right = _spellings(login) if login is not None else []

    async def check(request: Request) -> None:
        given = _given(request.headers.get("Authorization", ""))
        if login is None or any(secrets.compare_digest(given, one) for one in right):
            return
        detail = "wrong or missing login; run groundlook connect again with this service's GROUNDLOOK_USER"
        raise HTTPException(401, detail, {"WWW-Authenticate": "Basic"})

    return check


def _spellings(login: tuple[str, str]) -> list[bytes]:
    """ "user:password" as it may be sent: in UTF-8, and in Latin-1 where that has its letters."""
    text = ":".join(login)
    found = [text.encode("utf-8", "surrogateescape")]  # a variable's bytes may be no UTF-8
    with suppress(UnicodeEncodeError):
        found.append(text.encode("latin-1"))
    return found


def _given(header: str) -> bytes:
    """What the header "Basic <base64>" holds; nothing where it is no such header, and nothing is no login."""
    scheme, _, value = header.partition(" ")
    try:
        return base64.b64decode(value.strip()) if scheme.lower() == "basic" else b""
    except ValueError:
        return b""
