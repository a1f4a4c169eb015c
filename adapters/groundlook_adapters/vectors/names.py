"""What a scene is called where others read it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit


def scene_name(source: str) -> str:
    """The last part of a path or URI, as it may be shown: without a query, which may hold a token, and
    without our folders."""
    path = urlsplit(source).path if "://" in source else source
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]
