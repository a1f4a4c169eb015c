"""Tiles → Predictions, with a YOLO network: boxes, turned boxes, masks, keypoints, or the class of the tile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput, InvalidWeights
from groundlook.core.geo import Tile, WindowPx
from groundlook.core.geometry import WholeTile
from groundlook.core.tiling import grid
from groundlook.core.types import ModelCard, ModelVersion, Prediction, Region
from groundlook.models.pixels import as_rgb
from groundlook.models.weights.file import check
from groundlook.models.yolo import shapes
from groundlook.models.yolo.built import TOLERANCE, Built, build
from groundlook.models.yolo.candidates import LOWEST, Candidates, Floats
from groundlook.models.yolo.exported import Exported, opened
from groundlook.models.yolo.labelling import Labelling, labelling
from groundlook.models.yolo.network import CLASSIFIED_PX
from groundlook.models.yolo.suppress import best

__all__ = ["LOWEST", "YoloModel"]

_LARGEST, _OVERLAP = 2048, 256
_BATCH, _BATCH_PIXELS = 8, 8 * 512 * 512
"""Pictures at once, and how many pixels a network sees in one forward pass."""


class YoloModel:
    """A Model for what its network finds. Make one with `load`.

    Tiles are seen at their own resolution; one larger than 2048 px is seen through windows that overlap by 256 px.
    A -cls network sees the whole tile at 224 px, and an exported one through windows of the size it was exported for.
    """

    def __init__(
        self, version: ModelVersion, network: Built | Exported, labelled: Labelling, confidence: float
    ) -> None:
        self._version, self._network, self._labelling, self._confidence = version, network, labelled, confidence

    @classmethod
    def load(
        cls,
        card: ModelCard,
        weights: Path,
        labels: Sequence[str] | None = None,
        mapping: Mapping[str, str] | None = None,
        *,
        confidence: float = 0.25,
        config_dir: Path | None = None,
        device: str | None = None,
        runtime: str | None = None,
        folder: Path | None = None,
        keypoints: Sequence[str] = (),
        tolerance: float = TOLERANCE,
    ) -> YoloModel:
        """The network `card.arch` with the classes `card.labels` and the tensors at `weights`, checked against
        `card.sha256` where that is given; what the card leaves empty, the file must say. A file ending in .onnx is
        an export of ultralytics', which says all of it itself.

        `labels`: the project's, by default the network's classes; `mapping`: see `labels.map_classes`. Regions are
        the detections of `confidence` or more, 0.05…1: take 0.05 to evaluate. `device`: "cpu" or "cuda", by default
        CUDA where there is one. `runtime`: None for PyTorch, "fast" for the fastest that computes the same, or its
        name (`models.runtime`), compiled once into `folder`, which takes seconds; it may be off by `tolerance`.
        `keypoints`: names of those of a -pose network, see `labelling`.
        Raises InvalidWeights, InvalidConfig, InvalidInput.
        """
        if not LOWEST <= confidence <= 1:
            raise InvalidInput(f"confidence {confidence}: choose one between {LOWEST} and 1")
        if weights.suffix.lower() == ".onnx":
            if card.sha256:
                check(weights, card.sha256)
            network = opened(weights)
            classes = card.labels or network.names
            if len(classes) != len(network.names):
                raise InvalidWeights(f"{weights} was exported with {len(network.names)} classes, not {len(classes)}")
            found = labelling(classes, labels if labels is not None else classes, mapping, keypoints or network.points)
            _check_names(keypoints, network.head.keypoints[0])
            return cls(card.version, network, found, confidence)
        built, classes = build(
            card, weights, config=config_dir, device=device, runtime=runtime, folder=folder, tolerance=tolerance
        )
        found = labelling(classes, labels if labels is not None else classes, mapping, keypoints)
        _check_names(keypoints, built.head.keypoints[0])
        return cls(card.version, built, found, confidence)

    @property
    def version(self) -> ModelVersion:
        """That of the card it was loaded with."""
        return self._version

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns of every prediction's `proba`: the project's labels; those that no class maps to stay 0."""
        return self._labelling.labels

    @property
    def runtime(self) -> str:
        """What computes, in words."""
        return self._network.runtime

    def stated(self) -> str:
        """Which class stands for which label: "class 'building' → label 'Building', 3 classes unused"."""
        return self._labelling.told

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        """One prediction per tile, in order. `tile.pixels`: uint8 (H, W, B), see `pixels.as_rgb`.

        Regions are in tile pixels, best first, see `shapes.regions`; of a -cls network the likeliest label, of
        `confidence` or more. At most 1000 detections for each window through which a tile is seen; what a window cuts
        off gives way to what another shows whole (`windows.uncut`). Thread-safe. Raises InvalidInput.
        """
        pictures = [as_rgb(tile) for tile in tiles]
        if self._network.head.kind == "classify":
            return [self._classified(picture) for picture in pictures]
        found: list[Prediction | None] = [None] * len(pictures)
        for places in _batches(pictures, self._network.apart):
            for place, prediction in zip(places, self._batch([pictures[p] for p in places]), strict=True):
                found[place] = prediction
        return [prediction for prediction in found if prediction is not None]

    def _batch(self, pictures: list[NDArray[np.uint8]]) -> list[Prediction]:
        height, width = pictures[0].shape[:2]
        fixed, points = self._network.fixed, self._network.head.kind == "pose"
        size, overlap = (fixed[0], min(_OVERLAP, fixed[0] // 4)) if fixed else (_LARGEST, _OVERLAP)
        parts: list[list[Candidates]] = [[] for _ in pictures]
        windows = list(grid(width, height, size, overlap))
        for column, row, w, h in windows:
            seen = [p[row : row + h, column : column + w] for p in pictures]
            for place, part in enumerate(self._network.candidates(seen, self._labelling)):
                parts[place].append(part.moved(column, row, points))
        return [self._prediction(part, windows, (width, height)) for part in parts]

    def _prediction(self, parts: list[Candidates], windows: list[WindowPx], size: tuple[int, int]) -> Prediction:
        kind = self._network.head.kind
        kept = best(parts, windows, kind == "obb")
        found = tuple(shapes.regions(kept, kind, self._labelling, self._confidence, size))
        proba = kept.proba
        if self._labelling.points is not None:
            proba = self._labelling.of_points(proba, kept.extra)
        return Prediction(self._version, found, np.ascontiguousarray(proba), kept.peak, spread=kept.spread)

    def _classified(self, picture: NDArray[np.uint8]) -> Prediction:
        side = self._network.fixed or (CLASSIFIED_PX, CLASSIFIED_PX)
        small = cv2.resize(picture, side, interpolation=cv2.INTER_AREA)
        by_class = self._network.classes(np.ascontiguousarray(small))
        proba = np.array([by_class[list(m)].sum() for m in self._labelling.members], np.float32)
        best = int(proba.argmax())
        sure = min(float(proba[best]), 1.0)
        label = self.labels[best]
        found = (Region(WholeTile(), label, sure, origin="prediction"),) if sure >= self._confidence else ()
        # What the network gives to classes that are no label is shared out, so that the row adds up to 1.
        table: Floats = (proba / max(float(proba.sum()), 1e-12))[None]
        return Prediction(self._version, found, table, sure, kind="classification")


def _check_names(keypoints: Sequence[str], count: int) -> None:
    if keypoints and count != len(keypoints):
        raise InvalidInput(f"{len(keypoints)} keypoint names for a network with {count}: name each of them, or none")


def _batches(pictures: Sequence[NDArray[np.uint8]], apart: bool) -> Iterator[list[int]]:
    """Positions of pictures of one size, few enough for the memory; `apart`: no forward pass sees two."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for place, picture in enumerate(pictures):
        sizes.setdefault(picture.shape, []).append(place)
    for shape, places in sizes.items():
        most = _BATCH if apart else max(1, min(_BATCH, _BATCH_PIXELS // (shape[0] * shape[1])))
        yield from (places[i : i + most] for i in range(0, len(places), most))
