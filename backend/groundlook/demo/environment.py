"""Label Studio in an environment of its own, installed on first use, and an empty database that is migrated once.

Its pins (label-studio-sdk, Django, numpy) are not ours, so it never shares our environment: what is here is only
the path of its Python.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import platformdirs

from groundlook.core.errors import LabelStudioError
from groundlook.core.ports import Progress

VERSION = "1.23.2"
INSTALL_BYTES = 2_500_000_000
DATA_BYTES = 200_000_000
# What Label Studio was measured with; a later release of one of its loosely pinned dependencies changes nothing.
_EXCLUDE_NEWER = "2026-11-20T00:00:00Z"
_READY = ".ready"
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ")


def cache_dir() -> Path:
    """Where environments are kept: GROUNDLOOK_CACHE, or the user's cache folder."""
    chosen = os.environ.get("GROUNDLOOK_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("groundlook"))


def ensure_environment(progress: Progress) -> Path:
    """The Python of an environment that holds Label Studio; installs it if it is not there yet (about a minute).

    Two processes don't install at once, and what an interrupted one left is redone. Raises LabelStudioError where
    there is no installer, no network or no room.
    """
    home = cache_dir() / f"label-studio-{VERSION}"
    python = home / "bin" / "python"
    if (home / _READY).exists() and python.exists():
        return python
    with _locked(cache_dir() / f"label-studio-{VERSION}.lock"):
        if (home / _READY).exists() and python.exists():
            return python  # another process was faster
        if not _is_whole(python):
            _install(home, python, progress)
        (home / _READY).write_text(VERSION + "\n", encoding="utf-8")
    return python


def ensure_template(python: Path, progress: Progress) -> Path:
    """A data folder with a migrated, empty database (no users): copying it saves most of a first start.

    It holds no secret: Label Studio makes its own SECRET_KEY in every copy. Raises LabelStudioError.
    """
    template = cache_dir() / f"label-studio-{VERSION}-empty"
    if template.is_dir():
        return template
    with _locked(cache_dir() / f"label-studio-{VERSION}-empty.lock"):
        if template.is_dir():
            return template
        require_space(cache_dir(), DATA_BYTES, "Label Studio's empty database")
        progress(0.9, "preparing Label Studio's database (once, about 30 s)")
        with tempfile.TemporaryDirectory(dir=cache_dir(), prefix=".migrating-") as folder:
            # Any command migrates first, and this one then ends: no server, no user.
            command = [str(python), "-I", "-m", "label_studio.server", "version"]
            _run(command, "preparing Label Studio's database", 300, studio_env(Path(folder)))
            (Path(folder) / ".env").unlink(missing_ok=True)
            os.rename(folder, template)
            Path(folder).mkdir()  # for the context manager to remove
    return template


def studio_env(data_dir: Path) -> dict[str, str]:
    """The environment in which Label Studio runs, and nothing else of ours: variables as ordinary as HOST or
    USERNAME change what it does, and a proxy would be asked for loopback addresses."""
    return {
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        "LABEL_STUDIO_BASE_DATA_DIR": str(data_dir),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "PYTHONUNBUFFERED": "1",
    }


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raises LabelStudioError if the disk under `folder` has less than `needed` bytes free."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise LabelStudioError(
            f"{what} needs {needed / 1e9:.1f} GB under {folder}, which has {free / 1e9:.1f} GB free: "
            "make room, or choose another place with GROUNDLOOK_CACHE"
        )


def _install(home: Path, python: Path, progress: Progress) -> None:
    require_space(home.parent, INSTALL_BYTES, f"installing Label Studio {VERSION}")
    shutil.rmtree(home, ignore_errors=True)
    progress(0.0, f"installing Label Studio {VERSION} into {home} (once, about a minute)")
    package = f"label-studio=={VERSION}"
    uv = _uv()
    if uv:
        make = [*uv, "venv", "--quiet", "--python", sys.executable, str(home)]
        fill = [*uv, "pip", "install", "--quiet", "--exclude-newer", _EXCLUDE_NEWER, "--python", str(python), package]
    else:
        make = [sys.executable, "-m", "venv", str(home)]
        fill = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]
    _run(make, f"making an environment for Label Studio in {home}", 120)
    progress(0.1, f"installing {package}")
    _run(fill, f"installing {package} (is there network? UV_DEFAULT_INDEX chooses another package index)", 1800)
    progress(0.8, f"Label Studio {VERSION} is installed")


def _is_whole(python: Path) -> bool:
    """Whether an environment without our marker holds this version with all that it depends on."""
    if not python.exists():
        return False
    uv = _uv()
    check = [*uv, "pip", "check", "--quiet", "--python", str(python)] if uv else [str(python), "-m", "pip", "check"]
    ask = [str(python), "-I", "-c", "import importlib.metadata as m; print(m.version('label-studio'))"]
    try:
        return _run(ask, "asking for Label Studio's version", 60).strip() == VERSION and _run(check, "check", 60) == ""
    except LabelStudioError:
        return False


def _uv() -> list[str]:
    found = shutil.which("uv")
    if found:
        return [found]
    return [sys.executable, "-m", "uv"] if importlib.util.find_spec("uv") else []


def _run(command: Sequence[str], doing: str, seconds: float, env: dict[str, str] | None = None) -> str:
    """Standard output of a command. Raises LabelStudioError with the last line of what it complained about."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    try:
        # In the cache folder, so that uv does not read the settings of whatever project we were started in.
        done = subprocess.run(
            command, cwd=cache_dir(), env=env, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise LabelStudioError(f"{doing} took more than {seconds:.0f} s: {' '.join(command)}") from None
    except OSError as error:
        raise LabelStudioError(f"{doing} failed: {command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise LabelStudioError(f"{doing} failed: {' | '.join(said[-4:]) or f'exit code {done.returncode}'}")
    return done.stdout


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that the system releases when this process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
