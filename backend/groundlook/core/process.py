"""A child process that reports progress as JSON lines, dies with its parent, and can be cancelled."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from groundlook.core.errors import TrainingFailed
from groundlook.core.ports import Progress

_MARK = "@groundlook "


def run_child(
    module: str,
    arguments: Sequence[str],
    progress: Progress,
    env: Mapping[str, str],
    timeout: float | None = None,
) -> dict[str, Any]:
    """Run `python -m module arguments…`, pass its reports to `progress`, return its last one's `result`.

    An error raised by `progress` (a cancel) ends the child, and so do `timeout` seconds. Raises TrainingFailed with the
    child's last lines.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **env, "GROUNDLOOK_PARENT": str(os.getpid()), "PYTHONUNBUFFERED": "1"},
    )
    tail: deque[str] = deque(maxlen=12)
    result: dict[str, Any] | None = None
    late = threading.Event()

    def end() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(timeout or 0.0, end)
    timer.daemon = True
    if timeout is not None:
        timer.start()
    try:
        for line in child.stdout or ():
            if line.startswith(_MARK):
                message = json.loads(line[len(_MARK) :])
                result = message.get("result", result)
                progress(float(message.get("progress", 0.0)), str(message.get("message", "")))
            elif line.strip():
                tail.append(line.rstrip())
        code = child.wait()
    finally:
        timer.cancel()
        if child.poll() is None:
            child.kill()
            child.wait()
        if child.stdout:
            child.stdout.close()
    if code != 0 and late.is_set():
        raise TrainingFailed(" | ".join([*tail, f"{module} took over {timeout:g} s, and was ended"]))
    if code != 0 or result is None:
        raise TrainingFailed(f"{module} ended with exit code {code}: " + " | ".join(tail))
    return result


def report(progress: float, message: str, result: dict[str, Any] | None = None) -> None:
    """Called in the child: one progress line to the parent."""
    body: dict[str, Any] = {"progress": progress, "message": message}
    if result is not None:
        body["result"] = result
    sys.stdout.write(_MARK + json.dumps(body) + "\n")
    sys.stdout.flush()


def die_with_parent(poll: float = 0.5) -> None:
    """Called in the child: end this process as soon as the parent is gone, however it went (also SIGKILL)."""
    parent = int(os.environ.get("GROUNDLOOK_PARENT", "0")) or os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(poll)
        os._exit(3)

    threading.Thread(target=watch, name="die-with-parent", daemon=True).start()


def lower_priority(step: int) -> None:
    """Let interactive work go first. Where the system refuses, nothing changes."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(step)


def yield_cores() -> None:
    """Let OpenMP's idle threads sleep instead of spin: beside a training, spinning made both 20 times slower.
    Must run before anything loads OpenMP."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
