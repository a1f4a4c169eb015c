"""A real Label Studio server on loopback, with a data folder of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import httpx

from groundlook.core.errors import Busy, LabelStudioError
from groundlook.core.ports import Progress
from groundlook.demo import launcher
from groundlook.demo.environment import (
    DATA_BYTES,
    ensure_environment,
    ensure_template,
    require_space,
    studio_env,
)

__all__ = ["Studio", "ensure_environment", "free_port"]

_HOST = "127.0.0.1"
_START_SECONDS = 180.0
_STOP_SECONDS = 10.0


def free_port() -> int:
    """A loopback port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def quiet(fraction: float, message: str) -> None:
    """Progress for nobody."""


class Studio:
    """One server: `with Studio(folder) as studio: … studio.url, studio.token`.

    `data_dir` is made from a migrated template if it holds no database yet, else used as it is. `port` None takes
    a free one. `username` (an email address), `password` and `token` (legacy, 40 hex digits; drawn if None) are those
    of the owner, made at the first start. `env` is added to the server's environment.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        username: str = "demo@groundlook.local",
        password: str = "groundlook",  # noqa: S107 a login for a loopback demo, printed for its user
        token: str | None = None,
        env: Mapping[str, str] | None = None,
        progress: Progress = quiet,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port or 0
        self.username = username
        self.password = password
        self.token = token or secrets.token_hex(20)
        self._env = dict(env or {})
        self._progress = progress
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """http://127.0.0.1:<port>, without a slash at the end."""
        return f"http://{_HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process, which leads a group of its own; None while it is stopped."""
        return self._process.pid if self._process else None

    @property
    def log(self) -> Path:
        """All that the server printed, over its restarts."""
        return self.data_dir / "label-studio.log"

    def __enter__(self) -> Studio:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until it answers. Raises Busy if the port is taken, LabelStudioError if it stays silent."""
        if self._process is not None:
            return
        self.port = self.port or free_port()
        _refuse_busy(self.port)
        python = ensure_environment(self._progress)
        self._prepare(python)
        self._progress(0.95, f"starting Label Studio on {self.url}")
        self._spawn(python)
        try:
            self._wait()
            self._check_owner()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and its whole group; nothing of it is left afterwards. Does nothing if it is stopped."""
        process, self._process = self._process, None
        if process is None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()

    def restart(self) -> None:
        """Stop and start on the same port with the same data."""
        self.stop()
        self.start()

    def _prepare(self, python: Path) -> None:
        require_space(self.data_dir, DATA_BYTES, "Label Studio's data")
        if not (self.data_dir / "label_studio.sqlite3").exists():
            shutil.copytree(ensure_template(python, self._progress), self.data_dir, dirs_exist_ok=True)

    def _spawn(self, python: Path) -> None:
        env = {
            **studio_env(self.data_dir),
            "LABEL_STUDIO_USERNAME": self.username,
            "LABEL_STUDIO_PASSWORD": self.password,
            "LABEL_STUDIO_USER_TOKEN": self.token,
            **self._env,
        }
        serve = ["start", "--no-browser", "--internal-host", _HOST, "--port", str(self.port), "--host", self.url]
        command = [str(python), "-I", str(Path(launcher.__file__).absolute()), str(os.getpid()), *serve]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.data_dir,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            code = self._process.poll() if self._process else None
            if code is not None:
                raise LabelStudioError(f"Label Studio ended with exit code {code} while starting: {self._tail()}")
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/health", timeout=5, trust_env=False).status_code == 200:
                    return
            time.sleep(0.2)
        raise LabelStudioError(f"Label Studio did not answer within {_START_SECONDS:.0f} s: {self._tail()}")

    def _check_owner(self) -> None:
        """That the server on our port is ours: Label Studio moves to the next port by itself when it is taken."""
        header = {"Authorization": f"Token {self.token}"}
        answer = httpx.get(f"{self.url}/api/current-user/whoami", headers=header, timeout=30, trust_env=False)
        if answer.status_code != 200:
            raise LabelStudioError(
                f"{self.url} does not know the token of {self.username} (HTTP {answer.status_code}): the data in "
                f"{self.data_dir} was made with another one, or another server took the port; use a new data folder",
                answer.status_code,
            )

    def _tail(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return " | ".join(line.strip() for line in lines[-6:] if line.strip()) + f" (all of it: {self.log})"


def _refuse_busy(port: int) -> None:
    with socket.socket() as probe:
        # As servers do: a port whose connections are only winding down is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise Busy(f"port {port} is taken ({error.strerror}): stop what listens there, or choose another") from None


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
