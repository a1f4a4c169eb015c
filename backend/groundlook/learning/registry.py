"""Model versions on disk: one folder each, and one file that says which of them serves.

Every change is a rename, so that a process that is killed leaves the old state or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from groundlook.core.errors import InvalidWeights, NotFound
from groundlook.core.types import ModelCard, ModelVersion

_CARD, _SERVING = "card.json", "serving.json"


def version_of(name: str, parts: Sequence[str]) -> ModelVersion:
    """Name + hash of (snapshot, code, weights), whatever of these `parts` names."""
    return ModelVersion(name, hashlib.sha256("|".join(parts).encode()).hexdigest()[:12])


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's content."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class FileRegistry:
    """Implements `core.ports.Registry` under `root`/<project>/<version>/."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def save(self, project: int, card: ModelCard, weights: Path) -> None:
        """Keep a version with a copy of its weights file; a version that is kept already is left as it is."""
        folder = self._folder(project, card.version)
        if folder.exists():
            return
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        shutil.copyfile(weights, temporary / f"weights{weights.suffix}")
        body = asdict(card)
        (temporary / _CARD).write_text(json.dumps({**body, "version": str(card.version)}, indent=2))
        temporary.rename(folder)

    def cards(self, project: int) -> list[ModelCard]:
        """Every version kept, oldest first."""
        found = [
            _read_card(p) for p in sorted((self._root / str(project)).glob(f"*/{_CARD}")) if p.parent.name[0] != "."
        ]
        return sorted(found, key=lambda c: (c.created, str(c.version)))

    def weights(self, project: int, card: ModelCard) -> Path:
        """The weights file. Raises InvalidWeights when it is missing or no longer has its hash."""
        path = next(self._folder(project, card.version).glob("weights.*"), None)
        if path is None:
            raise InvalidWeights(f"the weights of {card.version} are gone; promote another version")
        actual = file_sha256(path)
        if actual != card.sha256:
            raise InvalidWeights(f"the weights of {card.version} were changed: sha256 {actual}, expected {card.sha256}")
        return path

    def serving(self, project: int) -> ModelCard | None:
        """The promoted version, None before the first."""
        pointer = self._root / str(project) / _SERVING
        if not pointer.exists():
            return None
        version = ModelVersion.parse(json.loads(pointer.read_text())["version"])
        return _read_card(self._folder(project, version) / _CARD)

    def promote(self, project: int, version: ModelVersion) -> None:
        """Let `version` serve, at once and for every process that reads this folder. Raises NotFound."""
        folder = self._folder(project, version)
        if not folder.exists():
            raise NotFound(f"model {version} is not in the registry of project {project}")
        pointer = self._root / str(project) / _SERVING
        temporary = pointer.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({"version": str(version), "since": time.time()}))
        temporary.replace(pointer)

    def _folder(self, project: int, version: ModelVersion) -> Path:
        return self._root / str(project) / str(version)


def _read_card(path: Path) -> ModelCard:
    body: dict[str, Any] = json.loads(path.read_text())
    body["labels"] = tuple(body["labels"])
    return replace(ModelCard(**body), version=ModelVersion.parse(body["version"]))
