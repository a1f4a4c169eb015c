"""What was found out of a weights file when its network was compiled, kept beside that: so that the next start neither
builds the network nor imports PyTorch, which alone takes more memory than a whole scene."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from groundlook.core.types import ModelCard
from groundlook.models.runtime import record
from groundlook.models.weights.file import digest
from groundlook.models.yolo.raw import REVISION, Head


@dataclass(frozen=True, slots=True)
class Known:
    """A network that was built and filled with its weights, without complaint."""

    arch: str
    classes: tuple[str, ...]
    head: Head


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
        body = json.loads(_place(folder, weights, card).read_text(encoding="utf-8"))
        said = body["head"]
        shape = tuple(said["strides"]), said["bins"], tuple(said["keypoints"])
        return Known(body["arch"], tuple(body["classes"]), Head(said["kind"], said["classes"], *shape))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def keep(folder: Path, weights: Path, card: ModelCard, known: Known) -> None:
    """For `recall`; a reader never sees half of it."""
    record.keep(_place(folder, weights, card), asdict(known))


def _place(folder: Path, weights: Path, card: ModelCard) -> Path:
    asked = [digest(weights), card.arch, list(card.labels), version(), REVISION]
    return folder / f"yolo-{record.digest(asked)}.json"
