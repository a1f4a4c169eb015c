"""Weights from a path or an https URL, only ever with the hash that they must have."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import httpx

from groundlook.core.errors import InvalidWeights
from groundlook.core.ports import Progress
from groundlook.models.weights.file import check, digest

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
    progress: Progress | None = None,
) -> Path:
    """The local file of the weights at `source`, checked against `sha256` (64 hex digits, mandatory).

    A path is returned as it is. A URL (https only) is downloaded once, into `cache_dir` under its hash; what lies
    there already is not downloaded again unless it changed, and a download that broke off, or took over half an hour,
    goes on where it stopped. `progress` is told how far it is, and may end it by raising. Raises InvalidWeights: wrong
    hash (naming both), too large, unreachable.
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
    if not _cached(place, wanted):
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.with_name(f".{wanted}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # somebody else downloads the same: wait, then look again
            if not _cached(place, wanted):
                place.unlink(missing_ok=True)
                _download(text, wanted, place, most_bytes, client, progress or _silent)
    return place


def _cached(place: Path, wanted: str) -> bool:
    return place.is_file() and digest(place) == wanted


def _silent(done: float, text: str) -> None:
    pass


def _suffix(url: str) -> str:
    suffix = Path(urlsplit(url).path).suffix
    if suffix not in (".safetensors", ".pt", ".pth", ".onnx"):
        raise InvalidWeights(f"weights URL {url} ends in {suffix or 'no suffix'}, not .safetensors, .pt, .pth or .onnx")
    return suffix


def _download(url: str, wanted: str, place: Path, most: int, client: httpx.Client | None, progress: Progress) -> None:
    """After what came before, then to its place. What has the wrong hash is thrown away."""
    path = place.with_name(f".{wanted}.part")
    try:
        with path.open("ab+") as partial:
            _stream(url, partial, most, client, progress)
            partial.seek(0)
            found = file_digest(partial, "sha256").hexdigest()
    except httpx.HTTPError as error:
        if path.stat().st_size == 0:
            path.unlink()
        why = f"weights could not be fetched from {url}: {error or type(error).__name__}"
        raise InvalidWeights(f"{why}; what came is kept, try again") from error
    except InvalidWeights:
        path.unlink()
        raise
    if found != wanted:
        path.unlink()
        raise InvalidWeights(f"weights from {url} have sha256 {found}, expected {wanted}: check both")
    path.replace(place)


def _stream(url: str, partial: BinaryIO, most: int, client: httpx.Client | None, progress: Progress) -> None:
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        http = client or stack.enter_context(httpx.Client(timeout=httpx.Timeout(30.0, connect=10.0)))
        size = partial.seek(0, os.SEEK_END)
        response = stack.enter_context(_get(http, url, size))
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # all of it is here; the hash says whether it is right
        response.raise_for_status()
        if response.status_code != httpx.codes.PARTIAL_CONTENT:  # a host that can't go on where it stopped
            size = 0
            partial.truncate(0)
        total = size + int(response.headers.get("content-length") or 0)
        for block in response.iter_bytes(1 << 18):
            size += len(block)
            if size > most:
                raise InvalidWeights(f"weights at {url} are larger than {most} bytes: give the path of a copy")
            partial.write(block)
            if time.monotonic() - start > _SECONDS:
                raise httpx.TimeoutException(f"it took over {_SECONDS:.0f} s")
            progress(min(size / total, 1.0) if total else 0.0, f"{size / 1e6:.0f} of {total / 1e6:.0f} MB")


@contextlib.contextmanager
def _get(http: httpx.Client, url: str, after: int) -> Iterator[httpx.Response]:
    """Follow redirects, but to https only: release pages redirect to their storage."""
    headers = {"Range": f"bytes={after}-"} if after else {}
    for _ in range(_REDIRECTS):
        with http.stream("GET", url, headers=headers, follow_redirects=False) as response:
            if not response.is_redirect or response.next_request is None:
                yield response
                return
            url = str(response.next_request.url)
        if urlsplit(url).scheme != "https":
            raise InvalidWeights(f"the weights' URL redirects to {url}, which is not https")
    raise InvalidWeights(f"the weights' URL redirects more than {_REDIRECTS} times, last to {url}")
