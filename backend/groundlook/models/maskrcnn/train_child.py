"""The training process: `python -m groundlook.models.maskrcnn.train_child spec.json`, started by train.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from groundlook.models.maskrcnn.network import build
from groundlook.models.training import child, spool
from groundlook.models.training.loop import Batch, fit

if TYPE_CHECKING:
    import torch


def main(spec: dict[str, Any]) -> None:
    """Train as the spec says, and report the weights' path."""
    module = child.begin(build(spec["arch"], len(spec["labels"])), spec, "backbone.body.")

    def loss_of(network: Any, batch: Batch) -> torch.Tensor:
        pairs = [_example(file, rng, spec["device"]) for file, rng in batch]
        parts = network([p for p, _ in pairs], [t for _, t in pairs])
        total: torch.Tensor = sum(parts.values())
        return total

    child.end(module, spec, fit(module, spec, loss_of))


def _example(file: Path, rng: np.random.Generator | None, device: str) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Picture float32 (3, H, W) 0…1 and its instances as torchvision wants them, turned and lit at random, as they are
    without `rng`."""
    import torch
    from torchvision.ops import masks_to_boxes

    kept = spool.read(file)
    shape = tuple(int(n) for n in kept["shape"])
    masks = np.unpackbits(kept["masks"], count=int(np.prod(shape))).reshape(shape)
    way = child.way(rng)
    picture = child.turned(np.moveaxis(child.lit(kept["picture"], rng), -1, 0), way) / 255
    turned = torch.from_numpy(child.turned(masks, way)).to(device)
    boxes = masks_to_boxes(turned.bool()) + torch.tensor([0.0, 0, 1, 1], device=device) if len(turned) else None
    target = {
        "boxes": turned.new_zeros((0, 4), dtype=torch.float32) if boxes is None else boxes,
        "labels": torch.from_numpy(kept["labels"]).to(device),
        "masks": turned,
    }
    return torch.from_numpy(picture).to(device), target


if __name__ == "__main__":
    child.run(main)
