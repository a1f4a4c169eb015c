"""Pictures of tasks that are known by a URL only: uploads in Label Studio, and hosts that the admin allowed."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence

import cv2
import httpx
import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidImage, NotAllowed
from groundlook.core.types import Project

MAX_BYTES = 100_000_000
MAX_PIXELS = 100_000_000
REDIRECTS = 3
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "PPM")
TIMEOUT = httpx.Timeout(30.0, connect=5.0)


class HttpImages:
    """Fetches images. Only Label Studio's own origin gets the project's token. Redirects, as Label Studio gives for
    files in cloud storage, are followed to where one may ask: each is looked at as if a task had named it."""

    def __init__(self, hosts: Sequence[str], headers: Callable[[Project], dict[str, str]]) -> None:
        self._hosts = {host.lower() for host in hosts}
        self._headers = headers
        self._http = httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False)

    def close(self) -> None:
        """Drop all connections."""
        self._http.close()

    def read(self, project: Project, url: str) -> NDArray[np.uint8]:
        """Uint8 RGB (H, W, 3). Raises InvalidImage or NotAllowed, naming the URL."""
        if not url:
            raise InvalidImage(f"the task has no image in its data; put the URL under {project.config.data_key!r}")
        try:
            full = httpx.URL(project.url.rstrip("/") + "/").join(url.strip())
        except (httpx.InvalidURL, ValueError) as error:  # a port that is none, half an address, half a character
            raise InvalidImage(f"image {url[:200]!r} is no URL ({error}); correct it in the task's data") from None
        return _decode(self._fetch(project, full, url), url)

    def _fetch(self, project: Project, url: httpx.URL, name: str) -> bytes:
        try:
            for _ in range(REDIRECTS + 1):
                with self._http.stream("GET", url, headers=self._allowed(project, url)) as reply:
                    if reply.next_request is None:
                        return _body(reply, name)
                    url = reply.next_request.url
        except httpx.HTTPError as error:
            raise InvalidImage(
                f"image {name} can't be fetched ({type(error).__name__}); is its host running?"
            ) from None
        raise InvalidImage(f"image {name} redirects more than {REDIRECTS} times; give its own address")

    def _allowed(self, project: Project, url: httpx.URL) -> dict[str, str]:
        """The headers to ask with. What is looked at is what is asked: one parser reads the URL, once."""
        if url.scheme not in {"http", "https"}:
            where = f"{str(url)[:200]!r} is not an http(s) URL"
            raise InvalidImage(f"image {where}; import it into Label Studio or ingest the raster")
        own, netloc = httpx.URL(project.url), url.netloc.decode("ascii")
        if (url.scheme, netloc) == (own.scheme, own.netloc.decode("ascii")):
            return self._headers(project)
        if not {netloc, url.host, url.raw_host.decode("ascii")} & self._hosts:
            raise NotAllowed(f"image host {netloc!r} is not allowed; add it to GROUNDLOOK_IMAGE_HOSTS")
        return {}


def _body(reply: httpx.Response, name: str) -> bytes:
    if reply.status_code != 200:
        raise InvalidImage(f"image {name} answered {reply.status_code}; check that the file is still there")
    chunks, size = [], 0
    for chunk in reply.iter_bytes():
        size += len(chunk)
        if size > MAX_BYTES:
            raise InvalidImage(f"image {name} is over {MAX_BYTES // 1_000_000} MB; tile it with ingest")
        chunks.append(chunk)
    return b"".join(chunks)


def _decode(body: bytes, url: str) -> NDArray[np.uint8]:
    if not body:
        raise InvalidImage(f"image {url} has 0 bytes; upload it again")
    _check_size(body, url)
    try:
        picture = cv2.imdecode(np.frombuffer(body, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InvalidImage(f"image {url} can't be decoded ({error.err})") from None
    if picture is None:
        raise InvalidImage(f"image {url} can't be decoded: it is truncated, or not a PNG or JPEG")
    return np.ascontiguousarray(picture[..., ::-1])


def _check_size(body: bytes, url: str) -> None:
    """By its header: a megabyte of zeros can claim gigabytes of pixels, which OpenCV would make before it says so."""
    from PIL import Image

    # Pillow warns of what we measure. `catch_warnings` would change the filters of every thread.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    try:
        with Image.open(io.BytesIO(body), formats=_FORMATS) as header:
            pixels = header.width * header.height
    except Image.DecompressionBombError:
        pixels = MAX_PIXELS + 1
    except Exception as error:  # whatever a damaged header makes a parser raise
        raise InvalidImage(f"image {url} can't be decoded ({type(error).__name__}): is it a PNG or JPEG?") from None
    if pixels > MAX_PIXELS:
        raise InvalidImage(f"image {url} has over {MAX_PIXELS // 1_000_000} million pixels; tile it with ingest")
