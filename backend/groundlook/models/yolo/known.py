"""What was found out of a weights file when its network was compiled, kept beside that: so that the next start neither
builds the network nor imports PyTorch, which alone takes more memory than a whole scene."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from groundlook.core import errors
from groundlook.core.errors import GroundlookError, InvalidWeights, TrainingFailed
from groundlook.core.process import run_child
from groundlook.core.types import ModelCard
from groundlook.models.runtime import record
from groundlook.models.weights.file import digest
from groundlook.models.yolo.raw import REVISION, Head

_CHILD = "groundlook.models.yolo.known_child"
_LONGEST_S = 900.0


@dataclass(frozen=True, slots=True)
class Known:
    """A network that was built and filled with its weights, without complaint."""

    arch: str
    classes: tuple[str, ...]
    head: Head

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Known:
        """From `asdict`'s values, which may have been through JSON."""
        said = body["head"]
        shape = tuple(said["strides"]), said["bins"], tuple(said["keypoints"])
        return cls(body["arch"], tuple(body["classes"]), Head(said["kind"], said["classes"], *shape))


def find_out(card: ModelCard, path: Path, config: Path | None) -> Known:
    """What `built.filled` finds out of the weights at `path`, in a process of its own. Raises what that raises, and
    InvalidWeights where the process dies."""
    spec = {"card": {"arch": card.arch, "labels": list(card.labels), "sha256": card.sha256}, "weights": str(path)}
    with tempfile.TemporaryDirectory(prefix="groundlook-known-") as work:
        place = Path(work) / "spec.json"
        place.write_text(json.dumps({**spec, "config": str(config) if config else None}), encoding="utf-8")
        env = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        try:
            said = run_child(_CHILD, [str(place)], lambda done, text: None, env, _LONGEST_S)
        except TrainingFailed as error:
            raise InvalidWeights(f"weights {path} can't be looked at: {error}") from error
    if "error" in said:
        kind: type[GroundlookError] = getattr(errors, said["error"])
        raise kind(said["said"])
    return Known.of(said)


def version() -> str:
    """Of ultralytics, "none" where it is not installed; without importing it."""
    try:
        return metadata.version("ultralytics")
    except metadata.PackageNotFoundError:
        return "none"


def recall(folder: Path, weights: Path, card: ModelCard) -> Known | None:
    """What `keep` kept of the same weights, asked for in the same way; None where that is nothing, or not whole.
    Raises InvalidWeights where `weights` can't be read."""
    try:
        return Known.of(json.loads(_place(folder, weights, card).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def keep(folder: Path, weights: Path, card: ModelCard, known: Known) -> None:
    """For `recall`; a reader never sees half of it."""
    record.keep(_place(folder, weights, card), asdict(known))


def _place(folder: Path, weights: Path, card: ModelCard) -> Path:
    asked = [digest(weights), card.arch, list(card.labels), version(), REVISION]
    return folder / f"yolo-{record.digest(asked)}.json"
