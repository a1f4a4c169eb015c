"""A clean Debian of the images' release, and the Dockerfile's lines carried out in it: what stands for an engine where
there is none. Needs root, debootstrap, a network and, for all extras, 10 GB."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from groundlook.demo.environment import cache_dir
from tests.docker.files import ROOT, arguments, instructions

RELEASE = "bookworm"
_MOUNTS = (
    'set -e; root=$1; cache=$2; shift 2; mount --bind "$root" "$root"; mount --rbind /proc "$root/proc"; '
    'mount --rbind /dev "$root/dev"; '
)
_BUILD = _MOUNTS + (
    'mkdir -p "$root/root/.cache/uv"; mount --bind "$cache" "$root/root/.cache/uv"; exec chroot "$root" "$@"'
)
_RUN = _MOUNTS + (
    'mount -t tmpfs tmpfs "$root/tmp"; mount --bind "$root/data" "$root/data"; mount -o remount,bind,ro "$root"; '
    'exec chroot --userspec=10001:10001 "$root" "$@"'
)
_PASSED_ON = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "UV_DEFAULT_INDEX", "PIP_INDEX_URL")
_CERTIFICATES = "/etc/host-certificates.crt"


def base() -> Path:
    """A root with what python:3.11-slim has, kept in the user's cache. Skips where it can't be made."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None or shutil.which("unshare") is None:
        pytest.skip("needs root and debootstrap")
    home = cache_dir() / f"debian-{RELEASE}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            making = home.with_suffix(".making")
            shutil.rmtree(making, ignore_errors=True)
            packages = "--include=python3,python3-venv,ca-certificates"
            make = ["debootstrap", "--variant=minbase", packages, RELEASE, str(making)]
            done = subprocess.run(make, capture_output=True, text=True, timeout=900)
            if done.returncode:
                pytest.skip(f"debootstrap failed: {done.stdout[-300:]}{done.stderr[-300:]}")
            making.rename(home)
    return home


@dataclass
class CleanRoot:
    """A copy of `base`, and the variables that the Dockerfile sets."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, path: Path) -> CleanRoot:
        subprocess.run(["cp", "--archive", "--reflink=auto", str(base()), str(path)], check=True)
        shutil.copy("/etc/resolv.conf", path / "etc" / "resolv.conf")
        if os.environ.get("SSL_CERT_FILE"):
            shutil.copy(os.environ["SSL_CERT_FILE"], str(path) + _CERTIFICATES)
        return cls(path)

    def stage(self, name: str) -> None:
        """Carry out a stage's COPY, RUN, ENV and WORKDIR; what it takes of another stage is here already."""
        folder = Path("/")
        self.env = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        for stage, word, rest in instructions():
            if word == "WORKDIR" and stage == name:
                folder = Path(rest)
                self._at(folder).mkdir(parents=True, exist_ok=True)
            elif word == "ENV" and stage in (name, _parent(name)):
                self.env |= {k: self._filled(v) for k, v in (pair.split("=", 1) for pair in shlex.split(rest))}
            elif word == "COPY" and stage == name and not rest.startswith("--from"):
                *sources, target = rest.split()
                self._copy(sources, folder / target, target.endswith("/"))
            elif word == "RUN" and stage == name:
                line = re.sub(r"--mount=\S+ ", "", rest)
                self.build(["sh", "-c", f"cd {self._folder(name, folder)} && {line}"])

    def build(self, command: Sequence[str]) -> None:
        """Run a command in it as root, with the network and uv's cache."""
        env = {**arguments(), **self.env, **{k: os.environ[k] for k in _PASSED_ON if k in os.environ}}
        if Path(str(self.path) + _CERTIFICATES).exists():
            env |= {"SSL_CERT_FILE": _CERTIFICATES, "PIP_CERT": _CERTIFICATES}
        done = subprocess.run(self._inside(_BUILD, env, command), capture_output=True, text=True, timeout=1500)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    def as_nobody(self, command: Sequence[str]) -> list[str]:
        """The command line that runs one as the images' user, / read-only but for /data and /tmp."""
        return self._inside(_RUN, self.env, command)

    def _inside(self, mounts: str, env: Mapping[str, str], command: Sequence[str]) -> list[str]:
        cache = cache_dir() / "uv"
        if uv := shutil.which("uv"):
            cache = Path(subprocess.run([uv, "cache", "dir"], capture_output=True, text=True).stdout.strip())
        cache.mkdir(parents=True, exist_ok=True)
        outside = ["unshare", "--mount", "sh", "-c", mounts, "sh", str(self.path), str(cache)]
        return [*outside, "/usr/bin/env", "-i", *(f"{k}={v}" for k, v in env.items()), *command]

    def _copy(self, sources: Sequence[str], target: Path, into: bool) -> None:
        for source in map(ROOT.joinpath, sources):
            found = self._at(target / source.name if into and source.is_file() else target)
            found.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, found, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                shutil.copy(source, found)

    def _folder(self, stage: str, folder: Path) -> Path:
        """A stage begins in the folder that the one it is made from ended in."""
        ends = [Path(rest) for s, word, rest in instructions() if word == "WORKDIR" and s == _parent(stage)]
        return folder if folder != Path("/") or not ends else ends[-1]

    def _filled(self, value: str) -> str:
        known = {**arguments(), **self.env}
        return re.sub(r"\$\{(\w+)\}", lambda m: known.get(m[1], ""), value)

    def _at(self, path: Path) -> Path:
        return self.path / path.relative_to("/")


def _parent(stage: str) -> str:
    (found,) = (rest for s, word, rest in instructions() if (s, word) == (stage, "FROM"))
    return found.split()[0]
