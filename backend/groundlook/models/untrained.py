"""The model that a project has before anybody trained one: it says nothing, and says so."""

from __future__ import annotations

from collections.abc import Sequence

from groundlook.core.geo import Tile
from groundlook.core.types import UNTRAINED_VERSION, ModelVersion, Prediction

VERSION = UNTRAINED_VERSION


class Untrained:
    """A Model whose every answer is "I don't know yet" (`knows` is False), which is not "empty"."""

    @property
    def version(self) -> ModelVersion:
        """The same on every machine."""
        return VERSION

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        """No regions for every tile."""
        return [Prediction(VERSION, (), knows=False) for _ in tiles]
