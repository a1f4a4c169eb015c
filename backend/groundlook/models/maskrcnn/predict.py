"""Tiles → Predictions, with a Mask R-CNN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Tile
from groundlook.core.mask import Mask
from groundlook.core.raster import mask_at
from groundlook.core.tiling import grid
from groundlook.core.types import ModelCard, ModelVersion, Prediction, Region
from groundlook.models.maskrcnn.network import build
from groundlook.models.pixels import as_rgb
from groundlook.models.training.filled import Filled, filled
from groundlook.models.windows import uncut

if TYPE_CHECKING:
    import torch

LOWEST = 0.05
"""Detections below this confidence are noise."""
_LARGEST, _OVERLAP = 1024, 256
_OVERLAP_IOU = 0.5
_MOST = 300


class MaskRCNNModel:
    """A Model for instances with masks. Make one with `load`.

    Tiles are seen at their own resolution; one larger than 1024 px is seen through windows that overlap by 256 px, and
    of two boxes of one label that overlap, the surer stays.
    """

    def __init__(self, version: ModelVersion, network: Filled, confidence: float) -> None:
        self._version, self._confidence = version, confidence
        self._labels, self._device = network.labels, network.device
        self._module: Any = network.module
        self._members = [[c for c, place in enumerate(network.classes) if place == i] for i in range(len(self._labels))]
        known = [float(place is not None) for place in network.classes]
        self._known = next(network.module.parameters()).new_tensor(known)

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
    ) -> MaskRCNNModel:
        """The network `card.arch` with the classes `card.labels` and the tensors at `weights`, checked against
        `card.sha256` where that is given; what the card leaves empty, the file must say.

        `labels`: the project's, by default the network's classes; `mapping`: see `labels.map_classes`. Regions are the
        instances of `confidence` or more, 0.05…1: take 0.05 to evaluate. `device`: "cpu" or "cuda", by default CUDA
        where there is one. Raises InvalidWeights, InvalidConfig, InvalidInput.
        """
        if not LOWEST <= confidence <= 1:
            raise InvalidInput(f"confidence {confidence}: choose one between {LOWEST} and 1")
        return cls(card.version, filled(build, card, weights, labels, mapping, device), confidence)

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

        Regions are Masks, best first; an instance whose mask is empty is left out. At most 300 detections for each
        window through which a tile is seen; what a window cuts off gives way to what another shows whole
        (`windows.uncut`). Raises InvalidInput.
        """
        return [self._predict(as_rgb(tile)) for tile in tiles]

    def _predict(self, picture: NDArray[np.uint8]) -> Prediction:
        import torch
        from torchvision.ops import batched_nms

        height, width = picture.shape[:2]
        with torch.inference_mode():
            windows = list(grid(width, height, _LARGEST, _OVERLAP))
            parts = [self._window(picture[y : y + h, x : x + w], x, y) for x, y, w, h in windows]
            boxes, proba, masks = (torch.cat([part[i] for part in parts]) for i in range(3))
            score, label = proba.max(1)
            window = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
            whole = uncut(boxes.cpu().numpy(), score.cpu().numpy(), label.cpu().numpy(), window, windows)
            places = torch.from_numpy(np.flatnonzero(whole)).to(boxes.device)
            nms = batched_nms(boxes[places], score[places], label[places], _OVERLAP_IOU)
            kept = places[nms[: _MOST * len(windows)]]
            table, which = proba[kept].cpu().numpy().astype(np.float32), label[kept].tolist()
            found = zip(boxes[kept].tolist(), masks[kept].cpu().numpy(), table, which, strict=True)
        regions: list[Region] = []
        for box, soft, row, place in found:
            shape = paste(soft, box, width, height)
            if row[place] >= self._confidence and len(shape.runs):
                regions.append(Region(shape, self._labels[place], min(float(row[place]), 1.0), origin="prediction"))
        peak = max(part[3] for part in parts)
        return Prediction(self._version, tuple(regions), table.reshape(-1, len(self._labels)), peak)

    def _window(self, picture: NDArray[np.uint8], column: int, row: int) -> tuple[Any, Any, Any, float]:
        """Of one window: boxes (N, 4) x0 y0 x1 y1 in tile pixels, probabilities (N, labels), masks (N, 28, 28) 0…1 over
        the box, and the highest probability. torchvision's own `forward` keeps the likeliest class's only."""
        import torch
        from torchvision.ops import batched_nms, clip_boxes_to_image

        x = torch.from_numpy(np.ascontiguousarray(picture)).to(self._device).permute(2, 0, 1).float() / 255
        size = (picture.shape[0], picture.shape[1])
        images, _ = self._module.transform([x])
        features = self._module.backbone(images.tensors)
        proposals, _ = self._module.rpn(images, features)
        heads = self._module.roi_heads
        logits, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, proposals, [size])))
        classes = logits.softmax(1)[:, 1:]
        proba = self._by_label(classes)
        decoded = clip_boxes_to_image(heads.box_coder.decode(deltas, proposals), size)
        best = (classes * self._known).argmax(1)  # of the network's classes: each has a box of its own
        boxes = decoded[torch.arange(len(best)), best + 1]
        score, label = proba.max(1)
        sure = (score >= LOWEST) & ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1)
        boxes, kept, best = boxes[sure], proba[sure], best[sure]
        chosen = batched_nms(boxes, score[sure], label[sure], _OVERLAP_IOU)[:_MOST]
        boxes, kept, best = boxes[chosen], kept[chosen], best[chosen]
        if len(boxes):
            soft = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(features, [boxes], [size]))).sigmoid()
            masks = soft[torch.arange(len(best)), best + 1]
        else:
            masks = boxes.new_zeros((0, 28, 28))
        peak = float(score.max()) if len(score) else 0.0
        return boxes + boxes.new_tensor([column, row, column, row]), kept, masks, min(peak, 1.0)

    def _by_label(self, classes: torch.Tensor) -> torch.Tensor:
        """(N, model classes) → (N, labels): summed, since the classes exclude each other."""
        import torch

        return torch.stack([classes[:, m].sum(1) for m in self._members], 1)


def paste(soft: NDArray[np.float32], box: Sequence[float], width: int, height: int) -> Mask:
    """The Mask, on a `width` × `height` tile, of a small picture of a mask that fills `box` (x0, y0, x1, y1), where it
    is over .5."""
    x0, y0, x1, y1 = box
    left, top = max(0, int(np.floor(x0))), max(0, int(np.floor(y0)))
    right, bottom = min(width, int(np.ceil(x1))), min(height, int(np.ceil(y1)))
    if right <= left or bottom <= top:
        return mask_at(np.zeros((0, 0), dtype=bool), 0, 0, width, height)
    # Pixel centre → place in the small picture, whose own centres are half a pixel in.
    u = (np.arange(left, right) + 0.5 - x0) / (x1 - x0) * soft.shape[1] - 0.5
    v = (np.arange(top, bottom) + 0.5 - y0) / (y1 - y0) * soft.shape[0] - 0.5
    across, down = np.meshgrid(u.astype(np.float32), v.astype(np.float32))
    full = cv2.remap(np.asarray(soft, np.float32), across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return mask_at(full > 0.5, left, top, width, height)
