"""Installing Label Studio: once, whole, and with one clear line when it can't be done. No network here."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from groundlook.core.errors import LabelStudioError
from groundlook.demo import environment


class Installer:
    """Stands for uv: makes the folders that it would, and counts."""

    def __init__(self) -> None:
        self.installs = 0
        self.version = environment.VERSION
        self.complaint = ""

    def __call__(self, command: Sequence[str], doing: str, seconds: float, env: dict[str, str] | None = None) -> str:
        words = list(command)
        if "venv" in words:
            python = Path(words[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.touch()
        elif "install" in words:
            time.sleep(0.2)
            if self.complaint:
                raise LabelStudioError(f"{doing} failed: {self.complaint}")
            self.installs += 1
        elif "-c" in words:
            return self.version + "\n"
        return ""


@pytest.fixture
def installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installer:
    monkeypatch.setenv("GROUNDLOOK_CACHE", str(tmp_path / "cache"))
    fake = Installer()
    monkeypatch.setattr(environment, "_run", fake)
    return fake


def _quiet(fraction: float, message: str) -> None: ...


def test_installs_once_also_when_two_ask_at_once(installer: Installer, tmp_path: Path) -> None:
    asking = [threading.Thread(target=environment.ensure_environment, args=(_quiet,)) for _ in range(2)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert installer.installs == 1
    assert environment.ensure_environment(_quiet).is_relative_to(tmp_path / "cache")


def test_whole_environment_without_our_mark_is_adopted(installer: Installer) -> None:
    python = environment.cache_dir() / f"label-studio-{environment.VERSION}" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert environment.ensure_environment(_quiet) == python
    assert installer.installs == 0


def test_half_installed_environment_is_made_again(installer: Installer) -> None:
    home = environment.cache_dir() / f"label-studio-{environment.VERSION}"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").touch()
    (home / "left-over").touch()
    installer.version = "none"
    environment.ensure_environment(_quiet)
    assert installer.installs == 1
    assert not (home / "left-over").exists()


def test_failed_install_is_one_line_and_is_tried_again(installer: Installer) -> None:
    installer.complaint = "no such host"
    with pytest.raises(LabelStudioError, match="no such host") as caught:
        environment.ensure_environment(_quiet)
    assert "\n" not in str(caught.value)
    installer.complaint, installer.version = "", "none"
    environment.ensure_environment(_quiet)
    assert installer.installs == 1


def test_full_disk_says_how_much_is_needed(installer: Installer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    with pytest.raises(LabelStudioError, match=r"2\.5 GB.*GROUNDLOOK_CACHE"):
        environment.ensure_environment(_quiet)


def test_missing_installer_and_failing_command_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUNDLOOK_CACHE", str(tmp_path))
    with pytest.raises(LabelStudioError, match="not-there"):
        environment._run(["/not-there"], "trying", 5)
    with pytest.raises(LabelStudioError, match=r"trying failed: one \| two \| three \| four"):
        environment._run(["sh", "-c", "printf 'zero\none\ntwo\nthree\nfour\n' >&2; exit 1"], "trying", 5)
    with pytest.raises(LabelStudioError, match="more than"):
        environment._run(["sleep", "5"], "trying", 0.1)


def test_server_sees_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOST", "USERNAME", "HTTP_PROXY", "PYTHONPATH", "DJANGO_DB", "LABEL_STUDIO_USER_TOKEN"):
        monkeypatch.setenv(name, "x")
    assert "x" not in environment.studio_env(tmp_path).values()
