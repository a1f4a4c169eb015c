"""Bulk work on Ray Data: shards of it, each done by one of some actors, on one machine or on many.

What a worker needs once (a model) it makes once. Shards are short texts that name what to do: pixels never travel.
Ray hands out what the actors can take and no more, and starts an actor that died again. It counts how it is used and
tells its makers; that is switched off before it is imported, which is when it reads its environment.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import tempfile
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from groundlook.core.errors import Busy, GroundlookError, InvalidInput

Work = Callable[[str], str]
"""Does one shard; what came of it."""

MOST_BLOCKS = 5000
"""Ray hands out blocks and brings them back whole: one shard each, until there are so many."""
_STORE = 256 * 2**20
"""Bytes for what is on its way on one machine: texts."""
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else it packs up the working folder where `uv run` started us
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # says of Ray Data's own actors that they are called wrongly
}


def each(shards: Sequence[str], make: Callable[[], Work], address: str = "", actors: int = 0) -> Generator[str]:
    """What becomes of `shards`, as it comes, in any order. `make` runs once in each of `actors` actors (0: one for each
    GPU or, without any, each machine) and gives what does the shards. `address`: of a Ray that runs ("auto",
    "host:port" on a machine of it, "ray://…" where ray[client] is installed), "" for one of our own on this machine,
    which ends with us. A Ray that asks for a token gets it where RAY_AUTH_MODE=token is set: to a host that was named
    Ray sends it for nothing less, and so do we.

    Raises InvalidInput without ray, Busy where nothing answers at `address`, and what `make` and the work raise.
    """
    with _ray(address) as ray, _quiet():
        ray.data.DataContext.get_current().enable_progress_bars = False
        items = ray.data.from_items(list(shards), override_num_blocks=min(len(shards), MOST_BLOCKS))
        done = items.map(_Actor, fn_constructor_args=(make,), **_shares(ray, actors))
        rows: Iterator[dict[str, str]] = iter(done.iter_rows())
        while (row := _next(ray, rows)) is not None:
            yield row["done"]


def _next(ray: Any, rows: Iterator[dict[str, str]]) -> dict[str, str] | None:
    """None after the last. Our own errors come out of Ray's wrapping as they were."""
    try:
        return next(rows, None)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        while cause is not None and not isinstance(cause, GroundlookError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from None
    except ray.exceptions.RayError as error:
        raise Busy(f"Ray gave up ({str(error).splitlines()[0]}); what came back is kept with --resume") from error


class _Actor:
    """Made in an actor's process; the work itself with its first shard, so that what fails is told as it is."""

    def __init__(self, make: Callable[[], Work]) -> None:
        self._make = make
        self._work: Work | None = None

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        if self._work is None:
            self._work = self._make()
        return {"done": self._work(row["item"])}


def _shares(ray: Any, actors: int) -> dict[str, Any]:
    """How many actors, and what each has to itself: numeric libraries take as many threads as it has cores."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if not nodes:
        raise Busy("the Ray that was asked has no machine with a core; start one with: ray start")
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    actors = actors or gpus or len(nodes)
    cores = min(int(node["CPU"]) for node in nodes) * len(nodes) / actors
    return {
        "compute": ray.data.ActorPoolStrategy(size=actors),
        "num_cpus": int(cores) if cores >= 1 else math.floor(100 * cores) / 100,
        "num_gpus": 1 / math.ceil(actors / gpus) if gpus else None,
    }


@contextmanager
def _ray(address: str) -> Iterator[Any]:
    """Ray, connected; let go of however the block ends."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError:
        raise InvalidInput("--engine ray needs the extra: pip install 'groundlook[ray]'") from None
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        own = {"include_dashboard": False, "object_store_memory": _STORE, "_temp_dir": folder}
        try:
            _reach(address)
            ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **({} if address else own))
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            token = "; if it asks for a token, set RAY_AUTH_MODE=token" if address else ""
            raise Busy(f"Ray at {address or 'this machine'} can't be used: {said}{token}") from None
        try:
            yield ray
        finally:
            ray.shutdown()


def _reach(address: str) -> None:
    """Ray itself waits for minutes, and then ends the process."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.hostname and parts.port:
        socket.create_connection((parts.hostname, parts.port), timeout=10).close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray Data tells of every step, and is warned of its own settings when it reads them."""
    told = logging.getLogger("ray.data")
    before = told.level
    told.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ray\.")
            yield
    finally:
        told.setLevel(before)
