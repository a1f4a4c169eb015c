"""Tile URLs that only we can make: Label Studio's browser sends no cookie and no token with an image."""

from __future__ import annotations

import base64
import hashlib
import hmac

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import WindowPx

_MIN_KEY = 16


def sign(key: bytes, scene_id: str, window: WindowPx, fmt: str) -> str:
    """HMAC-SHA256 over scene, window and format, URL-safe base64 without padding (43 characters). `key`: at least
    16 bytes, else InvalidInput."""
    if len(key) < _MIN_KEY:
        raise InvalidInput(f"the signing key has {len(key)} bytes; use at least {_MIN_KEY} random ones")
    column, row, width, height = window
    # "tile/1" keeps this signature from being valid for anything else that is ever signed with the same key.
    message = f"tile/1|{scene_id}|{column},{row},{width},{height}|{fmt}"
    digest = hmac.new(key, message.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def verify(key: bytes, scene_id: str, window: WindowPx, fmt: str, signature: str) -> bool:
    """Whether `sign` made `signature` with the same key, in time that says nothing about how near it is."""
    expected = sign(key, scene_id, window, fmt)
    return hmac.compare_digest(expected.encode(), signature.encode(errors="replace"))


def tile_path(key: bytes, scene_id: str, window: WindowPx, fmt: str = "jpg") -> str:
    """Path and query of a signed tile, to be appended to the backend's address."""
    column, row, width, height = window
    return f"/tiles/{scene_id}/{column}_{row}_{width}_{height}.{fmt}?sig={sign(key, scene_id, window, fmt)}"
