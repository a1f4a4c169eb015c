"""A LabelStudioMLBase subclass in a process of its own Python: asked over pipes, started again when it is gone."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from groundlook.core.errors import InvalidInput, InvalidWeights

log = logging.getLogger("groundlook.labelstudio")

PICTURES = ("files", "path", "http")
"""How a task's data names its picture: as Label Studio names local files, which `get_local_path` of label-studio-ml
finds without a copy; as a path; as a URL on loopback, for subclasses that fetch it themselves."""
STARTING = 300.0
"""Seconds that importing the subclass and making an instance may take: weights are loaded there."""
MAX_ANSWER = 64_000_000
"""Bytes of one answer."""
_CHILD = Path(__file__).with_name("child.py")
_OURS = ("GROUNDLOOK_", "PYTHON", "VIRTUAL_ENV")
"""Variables that the child does not get: their Python is not ours, and our passwords are not theirs."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """What to run. `python`: of the environment that label-studio-ml is in; `script`: the file of the subclass; `name`:
    of the class, "" for the only one there; `label_config`: XML; `data_key`: where a task's data names its picture;
    `pictures`: one of PICTURES; `seconds`: that a call may take."""

    python: Path
    script: Path
    name: str
    label_config: str
    data_key: str
    pictures: str
    seconds: float


class MlBaseProcess:
    """One subclass, one process, one call at a time. Thread-safe. `folder`: where its pictures lie."""

    def __init__(self, mounted: Mounted, folder: Path) -> None:
        self._mounted, self._folder = mounted, folder
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[Any, Any] | None = None
        self._tail: deque[str] = deque(maxlen=8)
        self._ear: threading.Thread | None = None
        self._prefix = ""

    def start(self) -> None:
        """Start it now, where it does not run. Raises InvalidWeights that says what to do."""
        with self._lock:
            self._ensure()

    def predict(self, picture: str) -> Any:
        """What it says of the file `picture` of the folder: JSON, not checked. Raises InvalidWeights where it can't be
        started, ended, or took too long (the next call starts it again), and InvalidInput with what it raised."""
        with self._lock:
            self._ensure()
            data = {self._mounted.data_key: self._prefix + picture}
            task = {"id": 1, "data": data, "meta": {}, "annotations": [], "predictions": []}
            reply = self._exchange({"tasks": [task]}, self._mounted.seconds)
        if "error" in reply:
            raise InvalidInput(f"model {self._mounted.script.name} raised {reply['error']}")
        results = reply.get("results")
        if not isinstance(results, list) or len(results) != 1:
            raise InvalidInput(f"model {self._mounted.script.name} did not give one prediction for one task")
        return results[0]

    def close(self) -> None:
        """End it; a later call starts it again."""
        with self._lock:
            self._kill()

    def _ensure(self) -> None:
        if self._running is not None and self._running.poll() is None:
            return
        self._kill()
        self._running = self._spawn()
        self._end = weakref.finalize(self, _end, self._running)
        self._ear = threading.Thread(target=_hear, args=(self._running.stderr, self._tail), daemon=True)
        self._ear.start()
        hello = {"label_config": self._mounted.label_config, "pictures": self._mounted.pictures}
        reply = self._exchange({**hello, "folder": str(self._folder)}, STARTING)
        if "error" in reply:
            self._kill()
            raise InvalidWeights(
                f"model {self._mounted.script} can't be made in {self._mounted.python}: {reply['error']}; its "
                "environment needs label-studio-ml (1.0.9 also redis and rq) and what the model imports"
            )
        self._prefix = str(reply.get("prefix"))
        log.info("%s of %s runs in %s", reply.get("model"), self._mounted.script, self._mounted.python)

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._tail.clear()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
        # 2.0 keeps a cache in MODEL_DIR, or wherever it was started.
        env = {"MODEL_DIR": str(self._folder), **kept, "LOCAL_FILES_DOCUMENT_ROOT": str(self._folder)}
        script = self._mounted.script.resolve()
        command = [str(self._mounted.python), "-u", str(_CHILD), str(script), self._mounted.name]
        pipe = subprocess.PIPE
        try:
            return subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, env=env, cwd=script.parent, start_new_session=True
            )
        except OSError as error:
            raise InvalidWeights(
                f"{self._mounted.python} can't be started ({error.strerror}); name the python of the environment that "
                "label-studio-ml is installed in"
            ) from None

    def _exchange(self, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """One line there, one line back. Whatever goes wrong ends the child: no answer is taken for another's."""
        running, line = self._running, b""
        assert running is not None and running.stdin is not None and running.stdout is not None  # noqa: S101, PT018
        late = threading.Event()

        def give_up() -> None:
            late.set()
            _kill_group(running)

        timer = threading.Timer(seconds, give_up)
        timer.daemon = True
        timer.start()
        try:
            with contextlib.suppress(OSError):
                running.stdin.write(json.dumps(message).encode() + b"\n")
                running.stdin.flush()
                line = running.stdout.readline(MAX_ANSWER)
        finally:
            timer.cancel()
        try:
            reply = json.loads(line) if line.endswith(b"\n") else None
        except (ValueError, RecursionError):
            reply = None
        if isinstance(reply, dict):
            return reply
        if not line:  # it is about to end by itself: how, is worth knowing
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(1.0)
        self._kill()
        raise InvalidWeights(self._why(late.is_set(), seconds, len(line), running.returncode))

    def _why(self, late: bool, seconds: float, length: int, code: int | None) -> str:
        what = f"model {self._mounted.script}"
        if late:
            return f"{what} took over {seconds:g} s and was ended; give it more with the option timeout"
        if length:
            return f"{what} gave an answer of over {MAX_ANSWER:,} bytes, or none that is JSON; it was ended"
        said = " | ".join(self._tail) or "nothing"
        return f"{what} ended with exit code {code} and is started again at the next call; it said: {said}"

    def _kill(self) -> None:
        if self._end is not None:
            self._end()
        if self._ear is not None:
            self._ear.join(timeout=2.0)  # what it said last
        self._running = self._end = self._ear = None


def _hear(pipe: IO[bytes], tail: deque[str]) -> None:
    """Keep the last lines of what the child prints: a full pipe would stop it."""
    with contextlib.suppress(OSError, ValueError), pipe:
        while line := pipe.readline(2000):
            text = line.decode(errors="replace").rstrip()
            if text:
                tail.append(text[:300])
                log.debug("label-studio-ml: %s", text)


def _kill_group(running: subprocess.Popen[bytes]) -> None:
    """End the child and what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(running.pid, signal.SIGKILL)


def _end(running: subprocess.Popen[bytes]) -> None:
    if running.poll() is None:
        _kill_group(running)
    running.wait()
    for pipe in (running.stdin, running.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
