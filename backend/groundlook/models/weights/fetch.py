"""Weights from a path or an https URL, only ever with the hash that they must have."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256 as new_sha256
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from groundlook.core.errors import InvalidWeights
from groundlook.models.weights.file import check

MOST_BYTES = 4 << 30
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SECONDS = 1800.0
_REDIRECTS = 5


def fetch(
    source: str | Path,
    sha256: str,
    cache_dir: Path,
    *,
    most_bytes: int = MOST_BYTES,
    client: httpx.Client | None = None,
) -> Path:
    """The local file of the weights at `source`, checked against `sha256` (64 hex digits, mandatory).

    A path is returned as it is. A URL (https only) is downloaded once, into `cache_dir` under its hash; what lies
    there already is not downloaded again. Raises InvalidWeights: wrong hash (naming both), too large, unreachable.
    """
    wanted = sha256.strip().lower()
    if not _SHA256.fullmatch(wanted):
        raise InvalidWeights(f"sha256 {sha256!r} of {source} is not 64 hex digits: give what sha256sum says")
    text = str(source)
    if "://" not in text:
        check(Path(text), wanted)
        return Path(text)
    if urlsplit(text).scheme != "https":
        raise InvalidWeights(f"weights URL {text} is not https: use https, or download the file and give its path")
    place = cache_dir / f"{wanted}{_suffix(text)}"
    if not place.is_file():
        _download(text, wanted, place, most_bytes, client)
    check(place, wanted)
    return place


def _suffix(url: str) -> str:
    suffix = Path(urlsplit(url).path).suffix
    if suffix not in (".safetensors", ".pt", ".pth"):
        raise InvalidWeights(f"weights URL {url} ends in {suffix or 'no suffix'}, not .safetensors, .pt or .pth")
    return suffix


def _download(url: str, wanted: str, place: Path, most: int, client: httpx.Client | None) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=".part-")
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            found = _stream(url, file.write, most, client)
        if found != wanted:
            raise InvalidWeights(f"weights from {url} have sha256 {found}, expected {wanted}: check both")
        partial.replace(place)
    except httpx.HTTPError as error:
        raise InvalidWeights(f"weights could not be fetched from {url}: {error or type(error).__name__}") from error
    finally:
        partial.unlink(missing_ok=True)


def _stream(url: str, write: Callable[[bytes], object], most: int, client: httpx.Client | None) -> str:
    """Pass the body on block by block, and return its sha256."""
    seen, size, start = new_sha256(), 0, time.monotonic()
    with contextlib.ExitStack() as stack:
        http = client or stack.enter_context(httpx.Client(timeout=httpx.Timeout(30.0, connect=10.0)))
        response = stack.enter_context(_get(http, url))
        response.raise_for_status()
        for block in response.iter_bytes(1 << 18):
            size += len(block)
            if size > most:
                raise InvalidWeights(f"weights at {url} are larger than {most} bytes: give the path of a copy")
            if time.monotonic() - start > _SECONDS:
                raise InvalidWeights(f"weights at {url} took over {_SECONDS:.0f} s: give the path of a copy")
            seen.update(block)
            write(block)
    return seen.hexdigest()


@contextlib.contextmanager
def _get(http: httpx.Client, url: str) -> Iterator[httpx.Response]:
    """Follow redirects, but to https only: release pages redirect to their storage."""
    for _ in range(_REDIRECTS):
        with http.stream("GET", url, follow_redirects=False) as response:
            if not response.is_redirect or response.next_request is None:
                yield response
                return
            url = str(response.next_request.url)
        if urlsplit(url).scheme != "https":
            raise InvalidWeights(f"the weights' URL redirects to {url}, which is not https")
    raise InvalidWeights(f"the weights' URL redirects more than {_REDIRECTS} times, last to {url}")
