"""Pictures of tasks that are known by a URL only: uploads in Label Studio, and hosts that the admin allowed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urljoin, urlsplit

import cv2
import httpx
import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidImage, NotAllowed
from groundlook.core.types import Project

MAX_BYTES = 100_000_000
MAX_PIXELS = 100_000_000
TIMEOUT = httpx.Timeout(30.0, connect=5.0)


class HttpImages:
    """Fetches images. Only Label Studio's own origin gets the project's token; redirects are not followed, because
    they could lead out of the allowed hosts."""

    def __init__(self, hosts: Sequence[str], headers: Callable[[Project], dict[str, str]]) -> None:
        self._hosts = set(hosts)
        self._headers = headers
        self._http = httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False)

    def close(self) -> None:
        """Drop all connections."""
        self._http.close()

    def read(self, project: Project, url: str) -> NDArray[np.uint8]:
        """Uint8 RGB (H, W, 3). Raises InvalidImage or NotAllowed, naming the URL."""
        if not url:
            raise InvalidImage(f"the task has no image in its data; put the URL under {project.config.data_key!r}")
        full = urljoin(project.url.rstrip("/") + "/", url)
        parts = urlsplit(full)
        if parts.scheme not in {"http", "https"}:
            raise InvalidImage(f"image {url!r} is not an http(s) URL; import it into Label Studio or ingest the raster")
        own = urlsplit(project.url)
        same = (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
        if not same and parts.netloc not in self._hosts and parts.hostname not in self._hosts:
            raise NotAllowed(f"image host {parts.netloc!r} is not allowed; add it to GROUNDLOOK_IMAGE_HOSTS")
        return _decode(self._fetch(full, self._headers(project) if same else {}), url)

    def _fetch(self, url: str, headers: dict[str, str]) -> bytes:
        chunks, size = [], 0
        try:
            with self._http.stream("GET", url, headers=headers) as reply:
                if reply.status_code != 200:
                    raise InvalidImage(f"image {url} answered {reply.status_code}; check that the file is still there")
                for chunk in reply.iter_bytes():
                    size += len(chunk)
                    if size > MAX_BYTES:
                        raise InvalidImage(f"image {url} is over {MAX_BYTES // 1_000_000} MB; tile it with ingest")
                    chunks.append(chunk)
        except httpx.HTTPError as error:
            raise InvalidImage(f"image {url} can't be fetched ({type(error).__name__}); is its host running?") from None
        return b"".join(chunks)


def _decode(body: bytes, url: str) -> NDArray[np.uint8]:
    if not body:
        raise InvalidImage(f"image {url} has 0 bytes; upload it again")
    try:
        picture = cv2.imdecode(np.frombuffer(body, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InvalidImage(f"image {url} can't be decoded ({error.err})") from None
    if picture is None or picture.shape[0] * picture.shape[1] > MAX_PIXELS:
        raise InvalidImage(f"image {url} can't be decoded: it is truncated, too large, or not a PNG or JPEG")
    return np.ascontiguousarray(picture[..., ::-1])
