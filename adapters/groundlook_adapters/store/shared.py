"""Bytes that machines share, in Redis, and agreeing on which machine makes them."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

from groundlook.core.errors import InvalidInput
from groundlook_adapters.store.blobs import head_of

T = TypeVar("T")

KEPT_S = 7 * 24 * 3600
"""What nobody made again for a week is dropped by Redis itself."""
CLAIM_S = 5.0
"""A claim that its maker does not renew is void after this."""
TIMEOUT_S = 0.5
RETRY_S = 5.0
_POLL_S = 0.05
_TELL_S = 60.0
_MINE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call("
_RENEW = _MINE + "'pexpire', KEYS[1], ARGV[2]) else return 0 end"
_RELEASE = _MINE + "'del', KEYS[1]) else return 0 end"

log = logging.getLogger("groundlook.cache")


class SharedBlobs:
    """Bytes by name in the Redis at `url`. One that is away, full or slow costs nobody more than one wait of half a
    second: it is left alone until it answers a ping again, which a thread finds out. Names are those of `name_of`.
    Connects when first asked. Raises InvalidInput for a URL that can't be used, and without the redis package."""

    def __init__(self, url: str) -> None:
        self._client, self._where = _client(url)
        self._up = True
        self._told = -_TELL_S
        self._closed = threading.Event()
        self._lock = threading.Lock()

    def get(self, name: str) -> bytes | None:
        """What is kept, None where nothing is. What arrives damaged is deleted."""
        found = self._try(lambda redis: redis.get(_value(name)))
        if not isinstance(found, bytes):
            return None
        head = head_of(name, b"")
        data = found[len(head) :]
        if found[: len(head)] == head_of(name, data):
            return data
        self._try(lambda redis: redis.delete(_value(name)))
        return None

    def has(self, name: str) -> bool:
        """Whether something is kept."""
        return bool(self._try(lambda redis: redis.exists(_value(name))))

    def put(self, name: str, data: bytes) -> None:
        """Keep `data` for a week."""
        self._try(lambda redis: redis.set(_value(name), head_of(name, data) + data, ex=KEPT_S))

    def get_or_make(self, name: str, make: Callable[[], bytes]) -> bytes:
        """What is kept; made and kept where nothing is. While another machine makes it, this one waits for that; a
        machine that died or failed while making is replaced by one that waits."""
        token = secrets.token_hex(16)
        while True:
            data = self.get(name)
            if data is not None:
                return data
            claimed = self._try(lambda redis: redis.set(_claim(name), token, nx=True, px=int(CLAIM_S * 1000)) or False)
            if claimed is None:
                return make()
            if claimed:
                break
            time.sleep(_POLL_S)
        with self._renewed(name, token):
            data = self.get(name)  # it may have come between the look and the claim
            if data is None:
                data = make()
                self.put(name, data)
        return data

    def close(self) -> None:
        """Let go of the connections."""
        self._closed.set()
        self._up = False
        self._client.close()

    @contextmanager
    def _renewed(self, name: str, token: str) -> Iterator[None]:
        done = threading.Event()

        def renew() -> None:
            while not done.wait(CLAIM_S / 3):
                self._try(lambda redis: redis.eval(_RENEW, 1, _claim(name), token, int(CLAIM_S * 1000)))

        thread = threading.Thread(target=renew, name="renew-claim", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self._try(lambda redis: redis.eval(_RELEASE, 1, _claim(name), token))

    def _try(self, action: Callable[[Any], T]) -> T | None:
        """What `action` gives; None without Redis."""
        if not self._up:
            return None
        from redis.exceptions import RedisError

        start = time.monotonic()
        try:
            found = action(self._client)
        except (RedisError, OSError) as error:
            self._leave(f"{type(error).__name__}: {error}")
            return None
        took = time.monotonic() - start
        if took > 2 * TIMEOUT_S:  # each part of the answer came in time, all of it did not
            self._leave(f"it took {took:.1f} s to answer")
        return found

    def _leave(self, why: str) -> None:
        with self._lock:
            if not self._up or self._closed.is_set():
                return
            self._up = False
            if time.monotonic() - self._told >= _TELL_S:
                self._told = time.monotonic()
                log.warning("Redis at %s is left out until it answers: %s", self._where, why)
            threading.Thread(target=self._watch, name="redis-watch", daemon=True).start()

    def _watch(self) -> None:
        from redis.exceptions import RedisError

        while not self._closed.wait(RETRY_S):
            start = time.monotonic()
            try:
                self._client.ping()
            except (RedisError, OSError):
                continue
            if time.monotonic() - start < TIMEOUT_S:
                self._up = not self._closed.is_set()
                return


def _client(url: str) -> tuple[Any, str]:
    """The client, and where it connects to, without a password."""
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise InvalidInput("a Redis URL is set, but not the package: install groundlook[redis]") from error
    try:
        parts = urlsplit(url)
        where = f"{parts.hostname or parts.path}:{parts.port or 6379}"
        client = Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )
    except ValueError as error:
        raise InvalidInput(f"the Redis URL can't be used ({error}): write redis://host:6379/0") from error
    return client, where


def _value(name: str) -> str:
    return f"groundlook:encoding:{name}"


def _claim(name: str) -> str:
    return f"groundlook:making:{name}"
