"""Loaded models: each version once, shared by all requests, dropped when another takes its place."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from groundlook.core.errors import NotFound
from groundlook.core.ports import Model, Registry, Trainer
from groundlook.core.types import UNTRAINED_VERSION, ModelCard, ModelVersion, Project
from groundlook.models.untrained import Untrained
from groundlook.models.yolo.predict import LOWEST, YoloModel
from groundlook.models.yolo.train import YoloTrainer

KEPT = 4
CONFIDENCE = 0.25
"""The least sure region that annotators are shown."""


class ModelShelf:
    """Implements `core.ports.Models`. Keeps the `KEPT` models used last."""

    def __init__(self, registry: Registry, arch: str, epochs: int) -> None:
        self._registry, self._arch, self._epochs = registry, arch, epochs
        self._loaded: OrderedDict[tuple[int, str, tuple[str, ...]], Model] = OrderedDict()
        self._lock = threading.Lock()

    def serving(self, project: Project, version: ModelVersion) -> Model:
        """See `core.ports.Models`. Two callers that need the same version wait for one load."""
        if version == UNTRAINED_VERSION:
            return Untrained()
        key = (project.id, str(version), project.config.labels)
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = self._load(project, version)
            self._loaded.move_to_end(key)
            while len(self._loaded) > KEPT:
                self._loaded.popitem(last=False)
            return self._loaded[key]

    def _load(self, project: Project, version: ModelVersion) -> Model:
        card = next((c for c in self._registry.cards(project.id) if c.version == version), None)
        if card is None:
            raise NotFound(f"model {version} is not in the registry of project {project.id}; promote another one")
        return _yolo(project, card, self._registry.weights(project.id, card))

    def candidate(self, project: Project, card: ModelCard, weights: Path) -> Model:
        """See `core.ports.Models`."""
        return _yolo(project, card, weights, confidence=LOWEST)

    def trainer(self, project: Project, champion: ModelCard | None) -> tuple[Trainer, Path | None]:
        """See `core.ports.Models`."""
        arch = str(project.settings.get("arch") or self._arch)
        if champion is not None:
            return self._trainer(champion.arch), self._registry.weights(project.id, champion)
        start = project.settings.get("start")
        return self._trainer(arch), Path(str(start)) if start else None

    def _trainer(self, arch: str) -> Trainer:
        return YoloTrainer(arch, epochs=self._epochs or None)


def _yolo(project: Project, card: ModelCard, weights: Path, confidence: float = CONFIDENCE) -> Model:
    """The admin's label map is for weights that came from outside: what we trained has the project's own labels."""
    mapping = project.settings.get("label_map") if card.verdict == "imported" else None
    return YoloModel.load(card, weights, project.config.labels, mapping or None, confidence=confidence)
