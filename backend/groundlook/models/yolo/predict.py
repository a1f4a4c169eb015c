"""Tiles → Predictions, with a YOLO detection network."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Tile
from groundlook.core.geometry import Box
from groundlook.core.tiling import grid
from groundlook.core.types import ModelCard, ModelVersion, Prediction, Region
from groundlook.models.labels import map_classes
from groundlook.models.pixels import as_rgb
from groundlook.models.weights.file import read
from groundlook.models.yolo import network, offline

if TYPE_CHECKING:
    import torch

LOWEST = 0.05
"""Detections below this confidence are noise: they would drown the uncertainty, and slow the suppression down."""
_STRIDE = 32
_LARGEST, _OVERLAP = 2048, 256
_BATCH, _BATCH_PIXELS = 8, 8 * 512 * 512
_GREY = 114  # what ultralytics pads with while it trains
_MOST = 1000
_OVERLAP_IOU = 0.6


class YoloModel:
    """A Model for upright boxes. Make one with `load`.

    Tiles are seen at their own resolution; one larger than 2048 px is seen through windows that overlap by 256 px.
    Forward passes wait for each other: ultralytics' head keeps its anchors on itself.
    """

    def __init__(
        self,
        version: ModelVersion,
        module: torch.nn.Module,
        classes: Sequence[int | None],
        labels: Sequence[str],
        confidence: float,
        device: str,
    ) -> None:
        self._version, self._module, self._labels = version, module, tuple(labels)
        self._confidence, self._device = confidence, device
        self._members = [[c for c, place in enumerate(classes) if place == i] for i in range(len(self._labels))]
        self._lock = threading.Lock()

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
    ) -> YoloModel:
        """The network `card.arch` with the classes `card.labels` and the tensors at `weights`, checked against
        `card.sha256` where that is given.

        `labels`: the project's, by default the card's; `mapping`: see `labels.map_classes`. Regions are the
        detections of `confidence` or more, 0.05…1: take 0.05 to evaluate. `device`: "cpu" or "cuda", by default
        CUDA where there is one. Raises InvalidWeights, InvalidConfig, InvalidInput.
        """
        if not LOWEST <= confidence <= 1:
            raise InvalidInput(f"confidence {confidence}: choose one between {LOWEST} and 1")
        classes = map_classes(card.labels, labels if labels is not None else card.labels, mapping)
        offline.ultralytics(config_dir)
        import torch

        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        module = network.build(card.arch, len(card.labels))
        network.load_strictly(module, read(weights, card.sha256 or None).state, card.arch, card.labels)
        module = _ready(module).to(place, memory_format=torch.channels_last)  # a third faster on a CPU
        return cls(card.version, module, classes, labels if labels is not None else card.labels, confidence, place)

    @property
    def version(self) -> ModelVersion:
        """That of the card it was loaded with."""
        return self._version

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns of every prediction's `proba`: the project's labels; those that no class maps to stay 0."""
        return self._labels

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        """One prediction per tile, in order. `tile.pixels`: uint8 (H, W, B), see `pixels.as_rgb`.

        Regions are upright boxes in tile pixels, clipped to the tile, best first. Raises InvalidInput.
        """
        pictures = [as_rgb(tile) for tile in tiles]
        found: list[Prediction | None] = [None] * len(pictures)
        for places in _batches(pictures):
            for place, prediction in zip(places, self._batch([pictures[p] for p in places]), strict=True):
                found[place] = prediction
        return [prediction for prediction in found if prediction is not None]

    def _batch(self, pictures: list[NDArray[np.uint8]]) -> list[Prediction]:
        import torch
        from ultralytics.utils.nms import non_max_suppression

        height, width = pictures[0].shape[:2]
        with torch.inference_mode():
            anchors = self._anchors(pictures, width, height)
            peaks = anchors[:, 4:].amax((1, 2)).cpu().numpy()
            rows, kept = non_max_suppression(
                anchors.clone(),  # it writes into what it is given
                conf_thres=LOWEST,
                iou_thres=_OVERLAP_IOU,
                max_det=_MOST,
                nc=len(self._labels),
                max_time_img=60.0,  # its default gives up silently on a busy machine
                return_idxs=True,
            )
            return [
                self._prediction(row.cpu().numpy(), anchors[i, 4:, k.long().view(-1)].T, float(peaks[i]), width, height)
                for i, (row, k) in enumerate(zip(rows, kept, strict=True))
            ]

    def _anchors(self, pictures: list[NDArray[np.uint8]], width: int, height: int) -> torch.Tensor:
        """(N, 4 + labels, anchors): centre x, y, width, height in tile pixels, then each label's probability."""
        import torch

        parts = []
        for column, row, w, h in grid(width, height, _LARGEST, _OVERLAP):
            batch = _padded([p[row : row + h, column : column + w] for p in pictures])
            x = torch.from_numpy(batch).to(self._device).permute(0, 3, 1, 2).float() / 255
            with self._lock:
                raw: Any = self._module(x.contiguous(memory_format=torch.channels_last))
                # Under the lock: the head may use the memory again.
                raw = (raw[0] if isinstance(raw, tuple | list) else raw).clone()
            raw[:, 0] += column
            raw[:, 1] += row
            parts.append(torch.cat([raw[:, :4], self._by_label(raw[:, 4:])], 1))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 2)

    def _by_label(self, classes: torch.Tensor) -> torch.Tensor:
        """(N, model classes, anchors) → (N, labels, anchors): the likeliest class of each label."""
        import torch

        none = classes.new_zeros(classes.shape[0], classes.shape[2])
        return torch.stack([classes[:, m].amax(1) if m else none for m in self._members], 1)

    def _prediction(
        self, rows: NDArray[np.float32], proba: torch.Tensor, peak: float, width: int, height: int
    ) -> Prediction:
        regions = [self._region(row, width, height) for row in rows if row[4] >= self._confidence]
        table = np.ascontiguousarray(proba.cpu().numpy(), dtype=np.float32).reshape(-1, len(self._labels))
        return Prediction(self._version, tuple(r for r in regions if r is not None), table, peak)

    def _region(self, row: NDArray[np.float32], width: int, height: int) -> Region | None:
        """`row`: x0, y0, x1, y1, confidence, label. None where nothing of the box lies in the tile."""
        x0, x1 = (float(v) for v in np.clip(row[[0, 2]], 0, width))
        y0, y1 = (float(v) for v in np.clip(row[[1, 3]], 0, height))
        if x1 <= x0 or y1 <= y0:
            return None
        box = Box(x0, y0, x1 - x0, y1 - y0)
        return Region(box, self._labels[int(row[5])], min(float(row[4]), 1.0), origin="prediction")


def _ready(module: Any) -> torch.nn.Module:
    module.eval()
    if getattr(module, "end2end", False):
        module.end2end = False  # yolo10 and 26 would answer with their best 300 boxes, without class probabilities
    else:
        module.fuse(verbose=False)
    ready: torch.nn.Module = module.requires_grad_(False)
    return ready


def _batches(pictures: Sequence[NDArray[np.uint8]]) -> Iterator[list[int]]:
    """Positions of pictures of one size, few enough for the memory."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for place, picture in enumerate(pictures):
        sizes.setdefault(picture.shape, []).append(place)
    for shape, places in sizes.items():
        most = max(1, min(_BATCH, _BATCH_PIXELS // (shape[0] * shape[1])))
        yield from (places[i : i + most] for i in range(0, len(places), most))


def _padded(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """(N, H, W, 3), grey to the right and below, so that both sides are multiples of the stride."""
    height, width = pictures[0].shape[:2]
    shape = (len(pictures), -(-height // _STRIDE) * _STRIDE, -(-width // _STRIDE) * _STRIDE, 3)
    batch = np.full(shape, _GREY, np.uint8)
    batch[:, :height, :width] = np.stack(pictures)
    return batch
