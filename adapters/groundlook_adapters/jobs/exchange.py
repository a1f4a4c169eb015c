"""Weights on their way to workers on other machines: through Redis, and checked where they arrive."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from groundlook.core.errors import Busy

log = logging.getLogger("groundlook.jobs")

KEPT_S = 24 * 3600
"""An offer lapses, and is made again with the next bulk work."""
_PREFIX = "groundlook:weights:"
_MOST = 500 * 2**20
"""Redis takes values up to 512 MB."""


class RedisExchange:
    """Implements `core.ports.Exchange`. Raises Busy where Redis does not answer."""

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(url, retry=Retry(ExponentialBackoff(cap=2.0, base=0.2), 4), socket_timeout=30.0)

    def close(self) -> None:
        """Drop the connections."""
        self._redis.close()

    def offer(self, sha256: str, weights: Path) -> None:
        """See `core.ports.Exchange`. Files of over 500 MB are not offered: workers need them in their own home."""
        if weights.stat().st_size > _MOST:
            log.warning("weights of %s bytes are too large to go through Redis", weights.stat().st_size)
            return
        key = f"{_PREFIX}{sha256}"
        try:
            if not self._redis.expire(key, KEPT_S):
                self._redis.set(key, f"{weights.suffix}\n".encode() + weights.read_bytes(), ex=KEPT_S)
        except RedisError as error:
            raise Busy(f"Redis does not take the weights ({type(error).__name__}); is it running?") from None

    @contextmanager
    def take(self, sha256: str) -> Iterator[Path | None]:
        """See `core.ports.Exchange`. What has another hash was not offered by us, and is not given."""
        try:
            body = self._redis.get(f"{_PREFIX}{sha256}")
        except RedisError as error:
            raise Busy(f"Redis does not give the weights ({type(error).__name__}); is it running?") from None
        if not isinstance(body, bytes):
            yield None
            return
        suffix, _, content = body.partition(b"\n")
        if hashlib.sha256(content).hexdigest() != sha256:
            log.warning("what Redis holds as weights %s is something else", sha256)
            yield None
            return
        with tempfile.TemporaryDirectory(prefix="groundlook-weights-") as folder:
            path = Path(folder) / f"weights{_plain(suffix)}"
            path.write_bytes(content)
            yield path


def _plain(suffix: bytes) -> str:
    text = suffix.decode("ascii", "replace")
    return text if text in (".safetensors", ".onnx", ".pt") else ".safetensors"
