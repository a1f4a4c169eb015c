"""Tiles → Predictions: classes of whole tiles, by a linear head on an embedder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput, InvalidWeights
from groundlook.core.geo import Tile
from groundlook.core.geometry import WholeTile
from groundlook.core.ports import Embedder
from groundlook.core.types import ModelCard, ModelVersion, Prediction, Region
from groundlook.models.classifier.embedders import parse
from groundlook.models.labels import map_classes
from groundlook.models.training.tensors import named
from groundlook.models.weights.file import read

_HOLDS = 0.5


class ClassifierModel:
    """A Model for Choices. Make one with `load`."""

    def __init__(
        self,
        version: ModelVersion,
        embedder: Embedder,
        head: Mapping[str, NDArray[np.float32]],
        classes: Sequence[int | None],
        labels: Sequence[str],
        confidence: float,
        several: bool,
    ) -> None:
        self._version, self._embedder, self._head, self._labels = version, embedder, dict(head), tuple(labels)
        self._confidence, self._several = confidence, several
        self._members = [[c for c, place in enumerate(classes) if place == i] for i in range(len(self._labels))]

    @classmethod
    def load(
        cls,
        card: ModelCard,
        weights: Path,
        labels: Sequence[str] | None = None,
        mapping: Mapping[str, str] | None = None,
        *,
        confidence: float = 0.25,
        device: str | None = None,
        embedder: Embedder | None = None,
    ) -> ClassifierModel:
        """The head at `weights`, checked against `card.sha256` where that is given, on the embedder that its arch
        names, or on `embedder`; what the card leaves empty, the file must say.

        `labels`: the project's, by default its classes; `mapping`: see `labels.map_classes`. Where one class holds, the
        likeliest is a region if it has `confidence`; where several may, each that has .5 and `confidence`. `device` is
        not needed. Raises InvalidWeights, InvalidConfig, InvalidInput.
        """
        if not 0 <= confidence <= 1:
            raise InvalidInput(f"confidence {confidence}: choose one between 0 and 1")
        content = read(weights, card.sha256 or None)
        arch, names = named(card, content, weights)
        found, several = parse(arch, embedder)
        wanted = labels if labels is not None else names
        classes = map_classes(names, wanted, mapping)
        state = {key: value.numpy() for key, value in content.state.items()}
        return cls(card.version, found, _checked(state, arch, len(names)), classes, wanted, confidence, several)

    @property
    def version(self) -> ModelVersion:
        """That of the card it was loaded with."""
        return self._version

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns of every prediction's `proba`: the project's labels; those that no class maps to stay 0."""
        return self._labels

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        """One prediction per tile, in order; its regions are WholeTiles, best first. `tile.pixels`: uint8 (H, W, B),
        see `pixels.as_rgb`. Raises InvalidInput."""
        if not tiles:
            return []
        return [self._prediction(row) for row in self._probabilities(self._embedder.embed(tiles))]

    def _probabilities(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, D) → (N, labels). Rows sum to less than 1 where a class is no label of the project."""
        head = self._head
        if rows.shape[1] != head["weight"].shape[1]:
            gives = f"{self._embedder.name} gives {rows.shape[1]} numbers of a tile"
            raise InvalidWeights(f"{gives}, the head takes {head['weight'].shape[1]}: train it again")
        logits = ((rows - head["mean"]) / head["scale"]) @ head["weight"].T + head["bias"]
        logits = np.clip(logits.astype(np.float64), -500, 500)
        if self._several:
            each = 1 / (1 + np.exp(-logits))
            proba = np.stack([each[:, m].max(axis=1) if m else np.zeros(len(each)) for m in self._members], axis=1)
        else:
            each = np.exp(logits - logits.max(axis=1, keepdims=True))
            each /= each.sum(axis=1, keepdims=True)
            proba = np.stack([each[:, m].sum(axis=1) for m in self._members], axis=1)
        return np.asarray(proba, np.float32)

    def _prediction(self, row: NDArray[np.float32]) -> Prediction:
        order = np.argsort(-row, kind="stable")
        least = max(self._confidence, _HOLDS) if self._several else self._confidence
        chosen = [i for i in (order if self._several else order[:1]) if row[i] >= least]
        regions = tuple(Region(WholeTile(), self._labels[i], float(row[i]), origin="prediction") for i in chosen)
        kind = "classification-multiple" if self._several else "classification"
        # To score by, the labels that there are share what the other classes took.
        table = row if self._several else row / max(float(row.sum()), 1e-30)
        peak = min(float(row.max()), 1.0)
        return Prediction(self._version, regions, table[None], peak, kind=kind)  # type: ignore[arg-type]


def _checked(state: dict[str, NDArray[np.float32]], arch: str, classes: int) -> dict[str, NDArray[np.float32]]:
    """The head's four arrays, of shapes that fit. Raises InvalidWeights."""
    weight = state.get("weight")
    size = weight.shape[1] if weight is not None and weight.ndim == 2 else 0
    wanted = {"weight": (classes, size), "bias": (classes,), "mean": (size,), "scale": (size,)}
    found = {name: array.shape for name, array in state.items()}
    if found != wanted or not size:
        raise InvalidWeights(f"the weights don't fit {arch} with {classes} classes: {found}; check both")
    if not all(np.isfinite(array).all() for array in state.values()) or not (state["scale"] > 0).all():
        raise InvalidWeights(f"the weights of {arch} are not finite: train again")
    return state
