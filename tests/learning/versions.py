"""Small versions for tests of the registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from groundlook.core.types import ModelCard, ModelVersion
from groundlook.learning.registry import FileRegistry, file_sha256


def version(name: str) -> ModelVersion:
    return ModelVersion("yolo", name * 12)


A, B, C, D = map(version, "abcd")


def registry_of(home: Path, names: Iterable[str], parents: Mapping[str, str] | None = None) -> FileRegistry:
    """Project 1 with a version for each of `names`, the first the oldest; nothing serves."""
    registry = FileRegistry(home / "models")
    for at, name in enumerate(names):
        weights = home / f"{name}.safetensors"
        weights.write_bytes(f"weights {name}".encode())
        parent = str(version(parents[name])) if parents and name in parents else ""
        sha = file_sha256(weights)
        registry.save(1, ModelCard(version(name), "yolo", "n", ("x",), sha, parent=parent, created=float(at)), weights)
    return registry
