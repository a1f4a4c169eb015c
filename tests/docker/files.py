"""docker/ as the tests read it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"


def instructions() -> list[tuple[str, str, str]]:
    """(stage, instruction, the rest) of every line of the Dockerfile, continued lines joined; "" before the first."""
    text = re.sub(r"\\\n", " ", (DOCKER / "Dockerfile").read_text())
    stage, found = "", []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            word, _, rest = line.strip().partition(" ")
            if word == "FROM":
                stage = rest.rpartition(" AS ")[2]
            found.append((stage, word, rest.strip()))
    return found


def arguments() -> dict[str, str]:
    """The Dockerfile's ARGs with their defaults."""
    pairs = (rest.partition("=") for _, word, rest in instructions() if word == "ARG")
    return {name: default for name, _, default in pairs if default}


def environment(stage: str) -> dict[str, str]:
    """The ENV of a stage, arguments filled in."""
    found: dict[str, str] = {}
    for name, word, rest in instructions():
        if (name, word) == (stage, "ENV"):
            found |= dict(pair.split("=", 1) for pair in shlex.split(rest))
    return {k: re.sub(r"\$\{(\w+)\}", lambda m: arguments().get(m[1], m[0]), v) for k, v in found.items()}


def command(stage: str, word: str) -> list[str]:
    """CMD or ENTRYPOINT of a stage."""
    (found,) = (rest for name, w, rest in instructions() if (name, w) == (stage, word))
    words: list[str] = json.loads(found)
    return words


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    """A compose file, its anchors and merges resolved, its variables not."""
    body: dict[str, Any] = yaml.safe_load((DOCKER / name).read_text())
    return body
