"""Our own service as a user runs it: the command line in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import httpx
import psutil

from groundlook.core.errors import GroundlookError
from groundlook.demo.studio import free_port
from groundlook.service.settings import Settings, read_settings

_READY_SECONDS = 90.0


class Backend:
    """`groundlook serve` with a home of its own; restartable, killable. `environ` is added to its environment."""

    def __init__(self, home: Path, roots: Sequence[Path], environ: Mapping[str, str], port: int | None = None) -> None:
        self.port = port or free_port()
        self.log = home / "serve.log"
        self.environ = {
            **os.environ,
            "GROUNDLOOK_HOME": str(home),
            "GROUNDLOOK_URL": f"http://127.0.0.1:{self.port}",
            "GROUNDLOOK_ROOTS": os.pathsep.join(str(r) for r in roots),
            "GROUNDLOOK_LOG": "info",
            **environ,
        }
        home.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._memory = _Memory(lambda: self._process)

    @property
    def settings(self) -> Settings:
        """What the service reads out of its environment."""
        return read_settings(self.environ)

    @property
    def pid(self) -> int | None:
        """The service's process, None while it is down."""
        return None if self._process is None else self._process.pid

    @property
    def max_rss_mb(self) -> float:
        """The most memory that service, worker and training held together, MB (resident set sizes, added up)."""
        return self._memory.most / 1e6

    def __enter__(self) -> Backend:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._memory.stop()

    def start(self) -> None:
        """Start and wait until it answers. Raises GroundlookError with the last line of its log."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "groundlook", "serve", "--attached", "--port", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self.environ, "GROUNDLOOK_PARENT": str(os.getpid())},
                start_new_session=True,  # Ctrl-C is ours to handle
            )
        end = time.monotonic() + _READY_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=2.0, trust_env=False)
                return
            except httpx.HTTPError:
                time.sleep(0.2)
        tail = self.log.read_text(errors="replace").strip().splitlines()[-1:]
        self.stop()
        raise GroundlookError(f"the service did not start: {' '.join(tail)}")

    def kill(self) -> None:
        """SIGKILL the service, as a crash would; its worker ends by itself."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it and wait; nothing of it is left afterwards."""
        process, self._process = self._process, None
        if process is None:
            return
        family = _family(process.pid)
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _, left = psutil.wait_procs(family, timeout=5)
        for member in left:
            member.kill()
        psutil.wait_procs(left)

    def run(self, *words: str) -> dict[str, Any]:
        """One `groundlook …  --json` command in the service's environment; its answer. Raises GroundlookError."""
        done = subprocess.run(
            [sys.executable, "-m", "groundlook", *words, "--json"],
            capture_output=True,
            text=True,
            env={**self.environ, "GROUNDLOOK_LOG": "warning"},
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            lines = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
            raise GroundlookError(f"groundlook {words[0]} ended with {done.returncode}: {lines[-1]}")
        return cast(dict[str, Any], json.loads(done.stdout.strip().splitlines()[-1]))


def _family(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


class _Memory:
    """Samples the memory of a process and its children twice a second."""

    def __init__(self, process: Any) -> None:
        self.most = 0.0
        self._process = process
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            process = self._process()
            if process is not None:
                self.most = max(self.most, _rss(process.pid))


def _rss(pid: int) -> float:
    total = 0.0
    try:
        for member in [psutil.Process(pid), *_family(pid)]:
            total += float(member.memory_info().rss)
    except psutil.NoSuchProcess:
        pass
    return total
