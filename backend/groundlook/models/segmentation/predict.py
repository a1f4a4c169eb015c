"""Tiles → Predictions, with a network that gives every pixel a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput, InvalidWeights
from groundlook.core.geo import Tile
from groundlook.core.tiling import grid
from groundlook.core.types import ModelCard, ModelVersion, Prediction
from groundlook.models.pixels import as_rgb
from groundlook.models.segmentation.network import build, normal
from groundlook.models.segmentation.regions import cells, regions_of
from groundlook.models.training.filled import Filled, filled
from groundlook.models.training.spool import STRIDE

SMALLEST = 16
_LARGEST, _OVERLAP = 1024, 128

Probabilities = NDArray[np.float32]
"""(1 + labels, H, W): the background first; every pixel sums to 1."""


class SegmentationModel:
    """A Model for masks. Make one with `load`.

    Tiles are seen at their own resolution; one larger than 1024 px is seen through windows that overlap by 128 px and
    fade into each other. Memory: 4 bytes per pixel and class of a tile, and what the network needs of one window.
    """

    def __init__(self, version: ModelVersion, network: Filled, confidence: float, smallest: int) -> None:
        self._version, self._labels, self._device = version, network.labels, network.device
        self._confidence, self._smallest, self._module = confidence, smallest, network.module
        # Channel → row: classes that are no label of the project are background to it.
        self._rows = np.array([0, *(0 if place is None else place + 1 for place in network.classes)])

    @classmethod
    def load(
        cls,
        card: ModelCard,
        weights: Path,
        labels: Sequence[str] | None = None,
        mapping: Mapping[str, str] | None = None,
        *,
        confidence: float = 0.25,
        smallest: int = SMALLEST,
        device: str | None = None,
    ) -> SegmentationModel:
        """The network `card.arch` with the classes `card.labels` and the tensors at `weights`, checked against
        `card.sha256` where that is given; what the card leaves empty, the file must say.

        `labels`: the project's, by default the network's classes; `mapping`: see `labels.map_classes`. Regions are
        connected pixels whose likeliest class is theirs, `smallest` or more of them, of `confidence` or more in the
        mean. `device`: "cpu" or "cuda", by default CUDA where there is one. Raises InvalidWeights, InvalidConfig,
        InvalidInput.
        """
        if not 0 <= confidence <= 1:
            raise InvalidInput(f"confidence {confidence}: choose one between 0 and 1")
        network = filled(build, card, weights, labels, mapping, device)
        import torch

        network.module.to(memory_format=torch.channels_last)
        return cls(card.version, network, confidence, smallest)

    @property
    def version(self) -> ModelVersion:
        """That of the card it was loaded with."""
        return self._version

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns of every prediction's `proba` after the first, the background's."""
        return self._labels

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        """One prediction per tile, in order. `tile.pixels`: uint8 (H, W, B), see `pixels.as_rgb`.

        Regions are Masks, best first; `score` is the mean probability of their pixels. Raises InvalidInput,
        InvalidWeights for answers that are no numbers.
        """
        return [self._prediction(self.probabilities(tile)) for tile in tiles]

    def probabilities(self, tile: Tile) -> Probabilities:
        """What every pixel may be, float32 (1 + labels, H, W), background first."""
        picture = as_rgb(tile)
        height, width = picture.shape[:2]
        if max(height, width) <= _LARGEST:
            return self._window(picture)
        total = np.zeros((len(self._labels) + 1, height, width), np.float32)
        weight = np.zeros((height, width), np.float32)
        for column, row, w, h in grid(width, height, _LARGEST, _OVERLAP):
            fade = np.minimum.outer(_fade(h), _fade(w))
            inside = (slice(row, row + h), slice(column, column + w))
            total[(slice(None), *inside)] += self._window(picture[inside]) * fade
            weight[inside] += fade
        return total / weight

    def _window(self, picture: NDArray[np.uint8]) -> Probabilities:
        import torch

        height, width = picture.shape[:2]
        below, right = -height % STRIDE, -width % STRIDE
        padded = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REFLECT_101)
        x = torch.from_numpy(normal(padded[None])).to(self._device)
        with torch.inference_mode():
            logits = self._module(x.contiguous(memory_format=torch.channels_last))
            proba = logits.float().softmax(1)[0, :, :height, :width].cpu().numpy()
        if not np.isfinite(proba).all():
            raise InvalidWeights(f"{self._version} answers with NaN: its weights are broken, fetch or train them again")
        rows = np.zeros((len(self._labels) + 1, height, width), np.float32)
        np.add.at(rows, self._rows, proba)
        return rows

    def _prediction(self, proba: Probabilities) -> Prediction:
        found = regions_of(proba, self._labels, self._confidence, self._smallest)
        peak = float(proba[1:].max()) if len(self._labels) else 0.0
        return Prediction(self._version, found, cells(proba), min(peak, 1.0), kind="segmentation")


def _fade(length: int) -> NDArray[np.float32]:
    """Weights that rise over the overlap from a window's edge inwards; never 0, so that the tile's edge counts."""
    from_edge = np.minimum(np.arange(length), np.arange(length)[::-1]) + 1
    rise: NDArray[np.float32] = np.minimum(from_edge / _OVERLAP, 1).astype(np.float32)
    return rise
