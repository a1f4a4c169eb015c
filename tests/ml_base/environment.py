"""label-studio-ml 1.0.9 out of PyPI, in an environment of its own: installed on first use (seconds), kept in the user's
cache. It pins Flask 1.1.2, Jinja2 3.0.3 and Werkzeug 2.0.2, and uses redis and rq, which it does not declare."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from groundlook.demo.environment import cache_dir

VERSION = "1.0.9"
PACKAGES = (f"label-studio-ml=={VERSION}", "redis==8.1.0", "rq==3.0.0")


def ensure() -> Path:
    """The Python that label-studio-ml is installed for. Skips the test where there is no uv."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed: it makes the environment of label-studio-ml")
    home = cache_dir() / f"label-studio-ml-{VERSION}"
    python, ready = home / "bin" / "python", home / ".ready"
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_name(f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            # Not in our folder: uv would read our settings there.
            run = {"cwd": home.parent, "check": True, "capture_output": True, "timeout": 300}
            subprocess.run([uv, "venv", "--clear", "--python", sys.executable, str(home)], **run)  # type: ignore[call-overload]
            subprocess.run([uv, "pip", "install", "--python", str(python), *PACKAGES], **run)  # type: ignore[call-overload]
            ready.touch()
    return python
