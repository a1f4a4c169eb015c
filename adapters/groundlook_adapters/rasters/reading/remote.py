"""Rasters behind a URL: which may be read, where they really are, and whether they changed.

http(s) is looked at and read by ourselves (no redirects, a time limit, see `ranges`); s3, gs and az go through GDAL
with the credentials of its own environment variables.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpx

from groundlook.core.errors import InvalidRaster, NotAllowed
from groundlook_adapters.rasters.reading.files import HEAD

SETTING = "GROUNDLOOK_RASTER_HOSTS"
_PORTS = {"http": 80, "https": 443}
_CLOUD = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# Stricter than RFC 3986: what could be read in two ways by two parsers is refused.
_HTTP = re.compile(
    r"(https?)://([A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?"
    r"(/[A-Za-z0-9/._~!$&'()*+,;=:@%?-]*)",
    re.IGNORECASE,
)
_OBJECT = re.compile(r"(s3|gs|az)://([A-Za-z0-9][A-Za-z0-9._-]{1,62})/([^\s\\?#\x00-\x1f\x7f]+)", re.IGNORECASE)
_SECRET = re.compile(r"[?&](?:sig|signature|token|access_token|x-amz-signature|x-goog-signature|key-pair-id)=", re.I)

TIMEOUT_S = 20.0
FRESH_S = 30.0
"""How long what was found out about a URL is believed."""

_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Remote:
    """`url`: as it is kept in `Scene.source`. `gdal`: what GDAL is given."""

    url: str
    scheme: str
    gdal: str
    host: str = ""
    port: int = 0

    def options(self) -> dict[str, Any]:
        """GDAL's options for reading it, and nothing else: no sidecar, no listing, no other URL."""
        alone = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
        if self.scheme in _PORTS:
            return {**alone, "CPL_VSIL_CURL_ALLOWED_FILENAME": "/none"}
        return {
            **alone,
            "CPL_VSIL_CURL_ALLOWED_FILENAME": self.gdal,
            # GDAL remembers what it read by name, for as long as the process lives.
            "CPL_VSIL_CURL_NON_CACHED": self.gdal,
            "GDAL_HTTP_TIMEOUT": str(int(TIMEOUT_S)),
            "GDAL_HTTP_CONNECTTIMEOUT": "10",
            "GDAL_HTTP_MAX_RETRY": "2",
            "GDAL_HTTP_RETRY_DELAY": "0.5",
            "GDAL_HTTP_NETRC": "NO",
        }


@dataclass(frozen=True, slots=True)
class Look:
    """What a server says of a file: `etag` changes when it does, `mark` is the server's own word for that, "" for none;
    `head` are its first bytes, `size` all of them."""

    etag: str
    head: bytes
    size: int
    mark: str


def is_remote(source: str) -> bool:
    """Whether this is a URL and not a path."""
    return _SCHEME.match(source) is not None


def allowed(url: str, hosts: Sequence[str]) -> Remote:
    """A URL that may be read. `hosts`: "data.example.org" (at its scheme's own port), "127.0.0.1:8123", "s3://bucket";
    an address range, "10.1.0.0/16", admits the private addresses that listed names lead to.

    Raises InvalidRaster (not such a URL), NotAllowed (a host that is not listed, one at a private address, a
    password in it).
    """
    scheme = url.partition("://")[0].lower()
    if len(url) > 2048 or (scheme not in _PORTS and scheme not in _CLOUD):
        raise InvalidRaster(f"{url[:200]}: only http, https, s3, gs and az URLs can be read")
    if scheme in _CLOUD:
        return _bucket(url, scheme, hosts)
    if ("@" in url.split("/", 3)[2] and "\\" not in url) or _SECRET.search(url):
        raise NotAllowed(
            f"{_bare(url)} has a password or signature in it, which would be stored with every task; "
            "use a public address, or s3://, gs:// or az:// with the credentials in the server's environment"
        )
    match = _HTTP.fullmatch(url)
    if match is None:
        raise InvalidRaster(f"{url[:200]!r} is not a plain {scheme} URL of a file; percent-encode what is unusual")
    host, port = match[2].lower().rstrip("."), int(match[3] or _PORTS[scheme])
    name = host if port == _PORTS[scheme] else f"{host}:{port}"
    rest = match[4]
    url = f"{scheme}://{name}{rest}"
    remote = Remote(url, scheme, url, host.strip("[]"), port)
    listed = {entry.strip().lower() for entry in hosts}
    literal = _address(remote.host)
    if not {host if port == _PORTS[scheme] else "", f"{host}:{port}"} & listed:
        what = "a private address" if literal is not None and _private(literal) else "not a host that may be read"
        raise NotAllowed(f"{_bare(remote.url)}: {name} is {what}; add it to {SETTING} if it is meant")
    _check_addresses(remote, literal, listed)
    return remote


def _bucket(url: str, scheme: str, hosts: Sequence[str]) -> Remote:
    match = _OBJECT.fullmatch(url)
    if match is None or ".." in match[3].split("/"):
        raise InvalidRaster(
            f"{url[:200]!r} is not the URL of a file in a bucket; write {scheme}://bucket/path/file.tif"
        )
    if f"{scheme}://{match[2]}" not in {entry.strip().rstrip("/") for entry in hosts}:
        raise NotAllowed(f"{url[:200]}: {scheme}://{match[2]} is not listed; add it to {SETTING}")
    return Remote(f"{scheme}://{match[2]}/{match[3]}", scheme, f"{_CLOUD[scheme]}{match[2]}/{match[3]}")


def _bare(url: str) -> str:
    """For messages: without user, password and query."""
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path.partition('?')[0]}"[:200]


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(host: str) -> Address | None:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else found


def _private(address: Address) -> bool:
    return not address.is_global or address.is_multicast


def _check_addresses(remote: Remote, literal: Address | None, listed: set[str]) -> None:
    """Where a listed name leads: to a public address, or to one that is listed itself."""
    if literal is not None or remote.host == "localhost":
        return
    for address in _resolve(remote):
        if _private(address) and not _is_listed(address, remote.port, listed):
            raise NotAllowed(
                f"{_bare(remote.url)}: {remote.host} leads to {address}, a private address; "
                f"add that address or its range to {SETTING} if it is meant"
            )


def _resolve(remote: Remote) -> list[Address]:
    try:
        rows = socket.getaddrinfo(remote.host, remote.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InvalidRaster(f"{_bare(remote.url)}: {remote.host} has no address ({error}); check the name") from None
    found = [_address(str(row[4][0]).partition("%")[0]) for row in rows]
    return [address for address in found if address is not None]


def _is_listed(address: Address, port: int, listed: set[str]) -> bool:
    if {str(address), f"{address}:{port}", f"[{address}]:{port}"} & listed:
        return True
    ranges = [entry for entry in listed if "/" in entry and "://" not in entry]
    return any(_in_range(address, entry) for entry in ranges)


def _in_range(address: Address, entry: str) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def look(remote: Remote, timeout: float = TIMEOUT_S) -> Look:
    """One ranged GET of an http(s) URL. Raises InvalidRaster (missing, no ranges, unreachable), NotAllowed (a redirect,
    or access denied). The etag: its ETag, else Last-Modified, else its first bytes, with its length."""
    headers = {"Range": f"bytes=0-{HEAD - 1}", "Accept-Encoding": "identity"}
    try:
        with client(timeout) as http, http.stream("GET", remote.url, headers=headers) as answer:
            check_answer(remote, answer)
            length = answer.headers["content-range"].rpartition("/")[2]
            head = next(answer.iter_bytes(HEAD), b"")
            mark = mark_of(answer)
    except httpx.HTTPError as error:
        raise unreachable(remote, error) from None
    if not (length.isascii() and length.isdigit()):
        raise InvalidRaster(f"{_bare(remote.url)}: the server does not say how large the file is; ingest a copy")
    digest = hashlib.sha256(f"{mark or head.hex()}|{length}".encode()).hexdigest()[:24]
    return Look(f"{int(length):x}-{digest}", head, int(length), mark)


def client(timeout: float = TIMEOUT_S) -> httpx.Client:
    """Connections that follow no redirect."""
    return httpx.Client(timeout=timeout, follow_redirects=False, verify=_trusted())


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    # Reading the certificates takes longer than reading a tile.
    return httpx.create_ssl_context()


def mark_of(answer: httpx.Response) -> str:
    """What an answer says to tell versions of a file apart, "" for nothing."""
    return str(answer.headers.get("etag") or answer.headers.get("last-modified") or "")


def unreachable(remote: Remote, error: Exception) -> InvalidRaster:
    """That nobody answered, in a sentence."""
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return InvalidRaster(f"{_bare(remote.url)} can't be reached ({reason}); check the address")


def check_answer(remote: Remote, answer: httpx.Response) -> None:
    """Raises NotAllowed, InvalidRaster where an answer to a ranged GET is no part of the file."""
    where, code = _bare(remote.url), int(answer.status_code)
    if 300 <= code < 400:
        target = str(answer.headers.get("location", "?"))
        raise NotAllowed(f"{where} redirects to {_bare(target)!r}, which is not followed; give that address itself")
    if code in (401, 403):
        raise NotAllowed(f"{where}: the server denies access ({code}); use an address that needs no password")
    if code in (404, 410):
        raise InvalidRaster(f"{where} does not exist ({code}); check the address")
    if code == 200 or (code == 206 and "content-range" not in answer.headers):
        raise InvalidRaster(f"{where}: the server can't send parts of a file; download it and ingest the copy")
    if code != 206:
        raise InvalidRaster(f"{where}: the server answered {code}; try again later")


class Memory:
    """What was found out about URLs, believed for a while. Thread-safe."""

    def __init__(self, fresh: float = FRESH_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._fresh, self._clock = fresh, clock
        self._rows: OrderedDict[Any, tuple[float, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """What is known of `key`, or what `make` says now; errors are not remembered."""
        with self._lock:
            row = self._rows.get(key)
        if row is not None and self._clock() - row[0] < self._fresh:
            return row[1]
        value = make()
        with self._lock:
            self._rows[key] = (self._clock(), value)
            self._rows.move_to_end(key)
            while len(self._rows) > _REMEMBERED:
                self._rows.popitem(last=False)
        return value
