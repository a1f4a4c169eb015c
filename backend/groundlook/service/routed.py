"""The project's own model and those that its plan puts beside it, as one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from groundlook.core.geo import Tile
from groundlook.core.geometry import WholeTile
from groundlook.core.plan import OWN, Plan
from groundlook.core.ports import Model
from groundlook.core.types import Control, ModelVersion, Prediction, Region


@dataclass(frozen=True, slots=True)
class Routed:
    """Implements `core.ports.Model` for the `controls` of one picture. `models`: those that the plan's routes name, by
    (model, refined by), the project's own under (OWN, ""). Regions of a route name its control.

    What is said of the tile's uncertainty is the own model's, or, where that has not learned yet, the first other's.
    """

    version: ModelVersion
    plan: Plan
    controls: tuple[Control, ...]
    models: Mapping[tuple[str, str], Model]

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        """See `core.ports.Model`."""
        answers = {key: model.predict(tiles) for key, model in self.models.items()}
        return [self._joined({key: found[i] for key, found in answers.items()}) for i in range(len(tiles))]

    def _joined(self, found: Mapping[tuple[str, str], Prediction]) -> Prediction:
        own = found[OWN, ""]
        base = own if own.knows else next((p for p in found.values() if p.knows), own)
        routed = [r for c in self.controls if c.name in self.plan.routes for r in self._answer(c, found)]
        return replace(base, version=self.version, regions=(*routed, *self._free(own)))

    def _answer(self, control: Control, found: Mapping[tuple[str, str], Prediction]) -> list[Region]:
        route = self.plan.route(control.name)
        prediction = found[route.model, route.refine]
        if not prediction.knows:
            return []
        if route.answers == "count":
            return [_number(control, len(prediction.regions))]
        if route.answers == "sureness":
            return [_number(control, _sureness(prediction) * (control.most or 5.0))]
        return [replace(r, control=control.name) for r in prediction.regions if r.label in control.labels]

    def _free(self, own: Prediction) -> tuple[Region, ...]:
        """What the own model found, for the controls that no route serves."""
        labels = {label for c in self.controls if c.name not in self.plan.routes for label in c.labels}
        return tuple(r for r in own.regions if r.label in labels)


def _number(control: Control, value: float) -> Region:
    least, most = control.least if control.least is not None else 0.0, control.most
    bounded = max(math.ceil(least), round(value))
    if most is not None:
        bounded = min(bounded, math.floor(most))
    return Region(WholeTile(), str(bounded), origin="prediction", control=control.name)


def _sureness(prediction: Prediction) -> float:
    """Mean score of the regions; of a tile without any, how far the strongest response is from being one."""
    scores = [r.score for r in prediction.regions if r.score is not None]
    return float(np.mean(scores)) if scores else 1.0 - prediction.peak
