"""`groundlook serve`: the HTTP service in this process, the worker in a child that is kept alive."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from groundlook.core.errors import Busy
from groundlook.service.wiring import Wired, web_app

log = logging.getLogger("groundlook.service")


def run_service(wired: Wired, host: str, port: int, worker: bool) -> None:
    """Serve until SIGTERM or SIGINT. Raises Busy when the port is taken."""
    with _bound(host, port) as listener, _worker() if worker else _nothing():
        config = uvicorn.Config(web_app(wired), log_config=None, access_log=False, timeout_graceful_shutdown=5)
        uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only where the protocol is named: without, every answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Busy(f"port {port} on {host} can't be used ({error.strerror}); choose another with --port") from None
    with listener:
        yield listener


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _worker() -> Iterator[None]:
    """Keep one worker process running while the block lasts."""
    stop = threading.Event()
    keeper = threading.Thread(target=_keep, args=(stop,), name="worker-keeper", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join(timeout=15)


def _keep(stop: threading.Event) -> None:
    while not stop.is_set():
        started = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, "-m", "groundlook", "worker", "--attached"],
            env={**os.environ, "GROUNDLOOK_PARENT": str(os.getpid()), "GROUNDLOOK_LOG": _log_level()},
        )
        while child.poll() is None and not stop.wait(0.2):
            pass
        if stop.is_set():
            _end(child)
            return
        log.warning("the worker ended with code %s and is started again", child.returncode)
        stop.wait(0.5 if time.monotonic() - started > 30 else 3.0)


def _log_level() -> str:
    return logging.getLevelName(logging.getLogger().getEffectiveLevel()).lower()


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
