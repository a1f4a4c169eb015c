"""Proposals of a segmenter as a Model: everything that looks like one object, under one label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from groundlook.core.geo import Tile
from groundlook.core.plan import ModelSpec
from groundlook.core.ports import Segmenter
from groundlook.core.prompts import mask_terms
from groundlook.core.types import ModelVersion, Prediction, Region
from groundlook.models.sam.pictures import picture_of

CLASSLESS = "object"
"""The label of proposals that nobody gave one."""


class Proposer:
    """Implements `core.ports.Model`. `labels`: the project's; the proposals get the one in the plan's `options.label`,
    or the first, or CLASSLESS where there is none. Each says in its note how sure it is, and why."""

    def __init__(self, segmenter: Segmenter, labels: Sequence[str], spec: ModelSpec) -> None:
        self._segmenter = segmenter
        self._label = str(spec.options.get("label") or next(iter(labels), CLASSLESS))

    @property
    def version(self) -> ModelVersion:
        """The segmenter's."""
        return self._segmenter.version

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        """Mask regions of every tile, best first. Minutes a tile on a CPU: for bulk work."""
        return [self._one(tile) for tile in tiles]

    def _one(self, tile: Tile) -> Prediction:
        cuts = self._segmenter.propose(picture_of(tile), lambda done, text: None)
        regions = tuple(
            Region(c.mask, self._label, c.score, origin="prediction", note=f"proposal, mask {c.score:.2f}")
            for c in cuts
        )
        table = np.array([[c.score] for c in cuts], dtype=np.float32).reshape(-1, 1)
        peak = max((c.score for c in cuts), default=0.0)
        return Prediction(self.version, regions, table, peak, masks=mask_terms(cuts))
