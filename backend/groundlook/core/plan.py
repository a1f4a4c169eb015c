"""Which model answers for which control of a project."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

OWN = ""
"""The name of the model that the project trains itself."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that an admin brings. `kind`: "sam", "yolo", "unet", … or an entry point's name. `weights`: a path, or an
    https URL with `sha256`. `arch`: the network of weights that don't name theirs. `classes`: in the network's order,
    of weights that don't name them. `label_map`: model class → project label. `options`: the kind's own."""

    name: str
    kind: str
    weights: str = ""
    sha256: str = ""
    arch: str = ""
    classes: tuple[str, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """How one control gets its answer.

    `model`: the name of a ModelSpec, or OWN. `refine`: the name of a segmenter that turns its boxes into masks, "" for
    none. `tolerance`: metres (pixels of a picture without a place) by which a polygon may be off; 0 keeps every
    corner. `oriented`: boxes are turned to fit. `holes`: of polygons, which can't have any: reported in a note, or the
    polygon is split so that none is left. `answers`: the regions themselves, how many of them there are (Number), or
    how sure the model is of the tile (Rating).
    """

    control: str
    model: str = OWN
    refine: str = ""
    tolerance: float = 0.5
    oriented: bool = False
    holes: Literal["report", "split"] = "report"
    answers: Literal["regions", "count", "sureness"] = "regions"


@dataclass(frozen=True, slots=True)
class Plan:
    """`models` by name; `routes` by control; a control without one is answered by the project's own model, if that has
    its labels. `interactive`: the name of the segmenter behind smart tools, "" for the service's own. `output`: the
    control that smart tools draw for, "" lets the label config decide."""

    models: Mapping[str, ModelSpec] = field(default_factory=dict)
    routes: Mapping[str, Route] = field(default_factory=dict)
    interactive: str = ""
    output: str = ""

    @property
    def digest(self) -> str:
        """The first 12 hex digits of sha256 over everything that changes a prediction; "" for a plan without any."""
        if not self.models and not self.routes:
            return ""
        body = json.dumps([asdict(self.models[n]) for n in sorted(self.models)], sort_keys=True, default=str)
        body += json.dumps([asdict(self.routes[n]) for n in sorted(self.routes)], sort_keys=True, default=str)
        return hashlib.sha256(body.encode()).hexdigest()[:12]

    def route(self, control: str) -> Route:
        """How `control` gets its answer."""
        return self.routes.get(control, Route(control))

    def body(self) -> dict[str, Any]:
        """As JSON values; `Plan.of` reads them back."""
        return json.loads(json.dumps(asdict(self), default=dict))  # type: ignore[no-any-return]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Plan:
        """Inverse of `body`; {} is the plan of a project that has none."""
        models = {n: ModelSpec(**{**m, "classes": tuple(m["classes"])}) for n, m in body.get("models", {}).items()}
        routes = {n: Route(**r) for n, r in body.get("routes", {}).items()}
        return cls(models, routes, body.get("interactive", ""), body.get("output", ""))
