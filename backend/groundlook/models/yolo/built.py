"""A network that we build ourselves and fill with a user's tensors: in PyTorch, or compiled."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.models.runtime import Compiled, compiled
from groundlook.models.weights.file import Weights
from groundlook.models.yolo import offline, raw
from groundlook.models.yolo.candidates import Candidates, Floats
from groundlook.models.yolo.decode import decode
from groundlook.models.yolo.labelling import Labelling
from groundlook.models.yolo.raw import Head

if TYPE_CHECKING:
    import torch

_GREY = 114  # what ultralytics pads with while it trains
TOLERANCE = 0.03
"""Relative error of what a compiled network may say. bfloat16 has 0.005 where a network was trained, and 0.1 where its
weights are random: measure the speed of such with a higher one."""
FAST = "fast"
"""The runtime that `models.runtime` finds the fastest of those that compute the same."""


@dataclass(frozen=True, slots=True)
class InTorch:
    """Forward passes wait for each other: two at once take no less time."""

    module: torch.nn.Module
    device: str
    lock: threading.Lock

    def __call__(self, pictures: NDArray[np.uint8]) -> tuple[Floats, ...]:
        import torch

        with self.lock, torch.inference_mode():
            said = self.module(torch.from_numpy(pictures).to(self.device))
            return tuple(value.float().cpu().numpy() for value in said)


@dataclass(frozen=True, slots=True)
class InRuntime:
    """One picture a call: more at once are no faster on a CPU."""

    network: Compiled

    def __call__(self, pictures: NDArray[np.uint8]) -> tuple[Floats, ...]:
        said = [self.network(pictures[i : i + 1]) for i in range(len(pictures))]
        return said[0] if len(said) == 1 else tuple(np.concatenate(parts) for parts in zip(*said, strict=True))


@dataclass(frozen=True, slots=True)
class Built:
    """`sides` of what it sees are multiples of `multiple`; `fixed` is the one size it takes, None for any."""

    head: Head
    run: InTorch | InRuntime
    fixed: tuple[int, int] | None = None

    @property
    def multiple(self) -> int:
        return self.head.strides[-1]

    @property
    def runtime(self) -> str:
        """What computes, in words."""
        return self.run.network.runtime if isinstance(self.run, InRuntime) else f"torch {self.run.device}"

    def candidates(self, pictures: Sequence[NDArray[np.uint8]], labelling: Labelling) -> list[Candidates]:
        """Of RGB pictures (H, W, 3), all of one size, each in its own pixels."""
        batch = padded(pictures, self.multiple)
        said = self.run(batch)
        size = (batch.shape[2], batch.shape[1])
        return [decode([part[i] for part in said], self.head, labelling, size) for i in range(len(batch))]

    def classes(self, picture: NDArray[np.uint8]) -> Floats:
        """(C,): the probabilities of a whole picture's classes, which add up to 1. `picture`: at the size it was
        trained on."""
        logits = self.run(picture[None])[0][0].astype(np.float64)
        weights = np.exp(logits - logits.max())
        found: Floats = (weights / weights.sum()).astype(np.float32)
        return found


def build(
    weights: Weights,
    path: Path,
    arch: str,
    classes: Sequence[str],
    *,
    config: Path | None,
    device: str | None,
    runtime: str | None,
    folder: Path | None,
    tolerance: float,
) -> Built:
    """The network `arch` with `weights`, which were read from `path`. `runtime`: None for PyTorch at once, FAST, or the
    name of one of `models.runtime`; `folder` keeps what was exported. Raises InvalidWeights, InvalidInput."""
    offline.ultralytics(config)
    import torch

    module, head = raw.checked(weights, arch, classes)
    if runtime is None:
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        ready = module.to(place, memory_format=torch.channels_last)  # a third faster on a CPU
        return Built(head, InTorch(ready, place, threading.Lock()))
    if folder is None:
        raise InvalidInput(f"runtime {runtime!r} needs a folder that keeps what is compiled: give one, or no runtime")
    found = raw.described(head, arch, classes, path, config)
    made = compiled(found, folder, tolerance=tolerance, runtime=None if runtime == FAST else runtime, device=device)
    return Built(head, InRuntime(made))


def padded(pictures: Sequence[NDArray[np.uint8]], multiple: int) -> NDArray[np.uint8]:
    """(N, H, W, 3), grey to the right and below, so that both sides are multiples of `multiple`."""
    height, width = pictures[0].shape[:2]
    shape = (len(pictures), -(-height // multiple) * multiple, -(-width // multiple) * multiple, 3)
    if shape[1:3] == (height, width):
        return np.stack(pictures)
    batch = np.full(shape, _GREY, np.uint8)
    batch[:, :height, :width] = np.stack(pictures)
    return batch
