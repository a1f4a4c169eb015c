"""Our service in a process of its own, for benches and for tests that need the real one. No worker, no Label Studio."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from groundlook.demo.studio import free_port


@dataclass(frozen=True, slots=True)
class OwnService:
    """A running service. `log`: what it writes to its standard output and error."""

    port: int
    process: psutil.Process
    log: Path

    @property
    def url(self) -> str:
        """Its address on this machine."""
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx.Client:
        """A connection; one for each thread."""
        return httpx.Client(base_url=self.url, timeout=120.0, trust_env=False)


@contextmanager
def own_service(home: Path, root: Path, environ: Mapping[str, str] | None = None) -> Iterator[OwnService]:
    """The service over `home`, up; rasters lie in `root`. Of this process's environment it sees no setting of ours but
    those in `environ`. Raises RuntimeError with the end of its log."""
    port, log = free_port(), home / "serve.log"
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith("GROUNDLOOK_")},
        "GROUNDLOOK_HOME": str(home),
        "GROUNDLOOK_URL": f"http://127.0.0.1:{port}",
        "GROUNDLOOK_ROOTS": str(root),
        "GROUNDLOOK_PARENT": str(os.getpid()),
        **(environ or {}),
    }
    command = [sys.executable, "-m", "groundlook", "serve", "--no-worker", "--attached", "--port", str(port)]
    with log.open("wb") as out:
        child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        found = OwnService(port, psutil.Process(child.pid), log)
        _await(found, child)
        yield found
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _await(service: OwnService, child: subprocess.Popen[bytes], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and child.poll() is None:
        try:
            httpx.get(f"{service.url}/health", timeout=2.0, trust_env=False)
            return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise RuntimeError(f"the service did not start: {service.log.read_text(errors='replace')[-500:]}")
