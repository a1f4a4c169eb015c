"""Loaded models: each version once, shared by all requests, dropped when another takes its place."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

from groundlook.core.errors import NotFound
from groundlook.core.plan import OWN, Plan
from groundlook.core.ports import Model, Registry, Trainer
from groundlook.core.types import UNTRAINED_VERSION, Control, ModelCard, ModelVersion, Project, Window
from groundlook.loop.route import plan_of
from groundlook.models.untrained import Untrained
from groundlook.service.brought import Brought
from groundlook.service.kinds import Kind, kind_of
from groundlook.service.routed import Routed

KEPT = 12
"""Models in memory, of all projects and plans."""
CONFIDENCE = 0.25
"""The least sure region that annotators are shown."""
LOWEST = 0.05
"""The least sure one that an evaluation sees."""


class ModelShelf:
    """Implements `core.ports.Models`. Keeps the `KEPT` models used last, and of a project's own versions only the one
    that serves and the one behind the queue. Whoever predicts with another holds it until that is done. `queued`: a
    project's window."""

    def __init__(
        self,
        registry: Registry,
        brought: Brought,
        arch: str,
        epochs: int,
        queued: Callable[[int], Window | None] = lambda project: None,
    ) -> None:
        self._registry, self._brought, self._arch, self._epochs = registry, brought, arch, epochs
        self._queued = queued
        self._loaded: OrderedDict[tuple[object, ...], Model] = OrderedDict()
        self._own_keys: dict[tuple[object, ...], ModelVersion] = {}
        self._loading: dict[tuple[object, ...], threading.Lock] = {}
        self._lock = threading.Lock()

    def serving(self, project: Project, version: ModelVersion, image: str = "") -> Model:
        """See `core.ports.Models`. Two callers that need the same version wait for one load. A version made under an
        earlier plan is answered for by the plan of now."""
        plan = plan_of(project)
        card = self._card(project, version, plan)
        own = self._own(project, card)
        if not plan.routes and not image:
            return own
        controls = _of(project, image)
        wanted = {(r.model, r.refine) for c in controls if (r := plan.routes.get(c.name)) is not None}
        models = {
            (OWN, ""): own,
            **{key: self._routed(project, plan, own, *key) for key in sorted(wanted - {(OWN, "")})},
        }
        return Routed(version, plan, controls, models)

    def _card(self, project: Project, version: ModelVersion, plan: Plan) -> ModelCard | None:
        """The card behind a version, None for the untrained one."""
        if version in (UNTRAINED_VERSION, UNTRAINED_VERSION.under(plan.digest)):
            return None
        cards = self._registry.cards(project.id)
        for card in cards:
            if version in (card.version, card.version.under(plan.digest)):
                return card
        serving = self._registry.serving(project.id)
        if plan.digest or (serving is None and version.name == UNTRAINED_VERSION.name):
            return serving
        raise NotFound(f"model {version} is not in the registry of project {project.id}; promote another one")

    def _own(self, project: Project, card: ModelCard | None) -> Model:
        if card is None:
            return Untrained()
        key = (project.id, str(card.version), project.config.labels)
        found = self._kept(key, lambda: _load(project, card, self._registry.weights(project.id, card)))
        with self._lock:
            self._own_keys[key] = card.version
            others = {k: v for k, v in self._own_keys.items() if k[0] == project.id and k != key}
        if others:
            self._drop_idle(project, others)
        return found

    def _drop_idle(self, project: Project, others: Mapping[tuple[object, ...], ModelVersion]) -> None:
        """Forget those of `others` that neither serve nor stand behind the queue, or that have labels of before."""
        serving, window, digest = self._registry.serving(project.id), self._queued(project.id), plan_of(project).digest
        needed = {None if serving is None else serving.version}
        queue = None if window is None else window.model
        for key, version in others.items():
            wanted = version in needed or queue in (version, version.under(digest))
            if not wanted or key[2] != project.config.labels:
                with self._lock:
                    self._forget(key)

    def _forget(self, key: tuple[object, ...]) -> None:
        """Under the lock."""
        self._loaded.pop(key, None)
        self._loading.pop(key, None)
        self._own_keys.pop(key, None)

    def _routed(self, project: Project, plan: Plan, own: Model, name: str, refine: str) -> Model:
        labels = tuple(dict.fromkeys(label for c in _all(project) for label in c.labels))
        key = (project.id, plan.digest, labels, name, refine)
        if name == OWN and not refine:
            return own
        if name == OWN:  # the own model changes under the refiner
            return self._brought.refined(own, plan.models[refine])
        return self._kept(key, lambda: self._brought.model(plan, name, refine, labels, CONFIDENCE))

    def _kept(self, key: tuple[object, ...], load: Callable[[], Model]) -> Model:
        with self._lock:
            alone = self._loading.setdefault(key, threading.Lock())
        with alone:  # one load of a model; the others go on
            with self._lock:
                found = self._loaded.get(key)
            if found is None:
                found = load()
            with self._lock:
                self._loaded[key] = found
                self._loaded.move_to_end(key)
                while len(self._loaded) > KEPT:
                    self._forget(next(iter(self._loaded)))
        return found

    def candidate(self, project: Project, card: ModelCard, weights: Path) -> Model:
        """See `core.ports.Models`."""
        return _load(project, card, weights, confidence=LOWEST)

    def trainer(self, project: Project, champion: ModelCard | None) -> tuple[str, Trainer, Path | None]:
        """See `core.ports.Models`. A project that changed its kind of model starts anew."""
        name = str(project.settings.get("kind") or usual_kind(project))
        kind = kind_of(name)
        epochs = self._epochs or None
        if champion is not None and champion.kind == name:
            return name, kind.learns()(champion.arch, epochs=epochs), self._registry.weights(project.id, champion)
        arch = str(project.settings.get("arch") or (self._arch if name == "yolo" else _arch(kind, project)))
        start = project.settings.get("start")
        return name, kind.learns()(arch, epochs=epochs), Path(str(start)) if start else None


def usual_kind(project: Project) -> str:
    """What a project trains when nobody chose: a classifier where its served control is Choices, else a detector."""
    return "classifier" if project.config.control_type == "Choices" else "yolo"


def _arch(kind: Kind, project: Project) -> str:
    served = next((c for c in project.config.controls if c.name == project.config.control), None)
    return kind.several if served is not None and served.several and kind.several else kind.arch


def _all(project: Project) -> tuple[Control, ...]:
    return (*project.config.controls, *project.config.others)


def _of(project: Project, image: str) -> tuple[Control, ...]:
    """The controls of one picture, "" for the first."""
    return tuple(c for c in project.config.others if c.image == image) if image else project.config.controls


def _load(project: Project, card: ModelCard, weights: Path, confidence: float = CONFIDENCE) -> Model:
    """The admin's label map is for weights that came from outside: what we trained has the project's own labels."""
    mapping = project.settings.get("label_map") if card.verdict == "imported" else None
    kind = kind_of(card.kind).load()
    model: Model = kind.load(card, weights, project.config.labels, mapping or None, confidence=confidence)
    return model
