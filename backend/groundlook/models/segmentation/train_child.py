"""The training process: `python -m groundlook.models.segmentation.train_child spec.json`, started by train.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.models.segmentation.network import build, normal
from groundlook.models.training import child, spool
from groundlook.models.training.loop import Batch, fit

if TYPE_CHECKING:
    import torch

_NOWHERE = -1


def main(spec: dict[str, Any]) -> None:
    """Train as the spec says, and report the weights' path."""
    import torch

    module = child.begin(build(spec["arch"], len(spec["labels"])), spec, "encoder.")
    module = module.to(memory_format=torch.channels_last)
    weights = torch.tensor(spec["class_weights"], dtype=torch.float32, device=spec["device"])
    # Half the seconds a step, where the processor computes bf16.
    fast = spec["device"] == "cpu" and torch.backends.mkldnn.is_available()
    fast = fast and torch.ops.mkldnn._is_mkldnn_bf16_supported()

    def loss_of(network: Any, batch: Batch) -> torch.Tensor:
        pairs = [_example(file, spec["side"], rng) for file, rng in batch]
        x = torch.from_numpy(normal(np.stack([p for p, _ in pairs]))).to(spec["device"])
        target = torch.from_numpy(np.stack([t for _, t in pairs])).long().to(spec["device"])
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            logits = network(x.contiguous(memory_format=torch.channels_last))
        return loss(logits.float(), target, weights)

    child.end(module, spec, fit(module, spec, loss_of))


def loss(logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted cross-entropy plus soft Dice (Milletari 2016, V-Net, eq. 3, over the batch) of the classes that occur.
    `logits`: (N, 1 + C, H, W); `target`: (N, H, W), −1 where nothing is known."""
    import torch
    from torch.nn import functional

    cross = functional.cross_entropy(logits, target, weights, ignore_index=_NOWHERE)
    known = (target != _NOWHERE)[:, None]
    proba = logits.softmax(1) * known
    true = functional.one_hot(target.clamp(min=0), logits.shape[1]).permute(0, 3, 1, 2) * known
    both, size = (proba * true).sum((0, 2, 3)), (proba.square() + true).sum((0, 2, 3))
    present = true.sum((0, 2, 3))[1:] > 0
    dice = (1 - (2 * both + 1) / (size + 1))[1:][present]
    return cross + (dice.mean() if len(dice) else torch.zeros_like(cross))


def _example(file: Path, side: int, rng: np.random.Generator | None) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Picture (side, side, 3) and classes (side, side), turned and lit at random, as they are without `rng`; beyond a
    small tile's edge the picture is mirrored, and its class is not known."""
    kept = spool.read(file)
    height, width = kept["truth"].shape
    picture = child.lit(kept["picture"], rng)
    below, right = side - height, side - width
    picture = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REFLECT_101)
    truth = np.pad(kept["truth"], ((0, below), (0, right)), constant_values=_NOWHERE)
    way = child.way(rng)
    return np.moveaxis(child.turned(np.moveaxis(picture, -1, 0), way), 0, -1), child.turned(truth, way)


if __name__ == "__main__":
    child.run(main)
