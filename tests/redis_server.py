"""A real Redis for the tests that need one: it can be killed, paused, and started again on its port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import until


class Server:
    """A redis-server on a free port of this machine, whose append-only file is written before it answers."""

    def __init__(self, folder: Path) -> None:
        from redis import Redis  # an extra, which most tests can do without

        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = Redis.from_url(self.url)

    def start(self) -> None:
        """Start, with what it kept, and wait until it answers; nothing if it runs."""
        if self._process is not None:
            return
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", "always"]
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)
        until(self._answers)

    def kill(self) -> None:
        """As a crash would; nothing if it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(10)

    def signal(self, number: int) -> None:
        """SIGSTOP cuts it off: connections stay, and nobody answers. SIGCONT ends that."""
        assert self._process is not None
        self._process.send_signal(number)

    def fresh(self) -> None:
        """Running, empty, with room and in a hurry: it forgets when it is killed, until somebody sets `appendfsync`."""
        if self._process is not None:
            self.signal(signal.SIGCONT)
        self.start()
        self.client.flushall()
        self.client.config_set("appendfsync", "no")
        self.client.config_set("maxmemory", "0")

    def _answers(self) -> bool:
        from redis.exceptions import RedisError

        assert self._process is not None
        assert self._process.poll() is None, "redis-server ended"
        try:
            return bool(self.client.ping())
        except (RedisError, OSError):
            return False


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server that has started; killed at the end. Skips where there is no redis-server; CI must have one."""
    if shutil.which("redis-server") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("redis-server is missing, and CI must not skip it: apt-get install redis-server")
        pytest.skip("redis-server is not installed; apt-get install redis-server to run this")
    server = Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        server.client.close()
