"""A network that we build ourselves and fill with a user's tensors: in PyTorch, or compiled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput, InvalidWeights
from groundlook.core.types import ModelCard
from groundlook.models.runtime import Compiled, compiled
from groundlook.models.weights.file import check, read
from groundlook.models.yolo import offline, raw
from groundlook.models.yolo.candidates import Candidates, Floats
from groundlook.models.yolo.decode import decode
from groundlook.models.yolo.known import Known, find_out, keep, recall, version
from groundlook.models.yolo.labelling import Labelling
from groundlook.models.yolo.raw import Head

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

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

    def each(self, pictures: NDArray[np.uint8], use: Callable[[Sequence[Floats]], T]) -> list[T]:
        """What `use` makes of the outputs for each of `pictures` (N, H, W, 3), of which it keeps nothing."""
        import torch

        with self.lock, torch.inference_mode():
            said = [part.float().cpu().numpy() for part in self.module(torch.from_numpy(pictures).to(self.device))]
        return [use([part[i] for part in said]) for i in range(len(pictures))]


@dataclass(frozen=True, slots=True)
class InRuntime:
    """One picture a call, several calls at once: more in a call are no faster on a CPU."""

    network: Compiled

    def each(self, pictures: NDArray[np.uint8], use: Callable[[Sequence[Floats]], T]) -> list[T]:
        """See `InTorch.each`."""
        items = [(pictures[i : i + 1],) for i in range(len(pictures))]
        return self.network.each(items, lambda said: use([part[0] for part in said]))


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
    def apart(self) -> bool:
        """Each forward pass sees one picture."""
        return isinstance(self.run, InRuntime)

    @property
    def runtime(self) -> str:
        """What computes, in words."""
        return self.run.network.runtime if isinstance(self.run, InRuntime) else f"torch {self.run.device}"

    def candidates(self, pictures: Sequence[NDArray[np.uint8]], labelling: Labelling) -> list[Candidates]:
        """Of RGB pictures (H, W, 3), all of one size, each in its own pixels."""
        batch = padded(pictures, self.multiple)
        size = (batch.shape[2], batch.shape[1])
        return self.run.each(batch, lambda said: decode(said, self.head, labelling, size))

    def classes(self, picture: NDArray[np.uint8]) -> Floats:
        """(C,): the probabilities of a whole picture's classes, which add up to 1. `picture`: at the size it was
        trained on."""
        (logits,) = self.run.each(picture[None], lambda said: said[0].astype(np.float64))
        weights = np.exp(logits - logits.max())
        found: Floats = (weights / weights.sum()).astype(np.float32)
        return found


def build(
    card: ModelCard,
    path: Path,
    *,
    config: Path | None,
    device: str | None,
    runtime: str | None,
    folder: Path | None,
    tolerance: float,
) -> tuple[Built, tuple[str, ...]]:
    """The network of the weights at `path`, and its classes: as `card` says, or the file where that says nothing.
    `runtime`: None for PyTorch at once, FAST, or the name of one of `models.runtime`; `folder` keeps what was exported.
    With a runtime that is none of PyTorch's own, child processes alone import PyTorch. Raises InvalidWeights,
    InvalidInput."""
    if runtime is None:
        module, seen = filled(card, path, config)
        return Built(seen.head, _in_torch(module, device)), seen.classes
    if folder is None:
        raise InvalidInput(f"runtime {runtime!r} needs a folder that keeps what is compiled: give one, or no runtime")
    known = _known(card, path, folder, config)
    network = raw.described(known.head, known.arch, known.classes, path, config, version())
    made = compiled(network, folder, tolerance=tolerance, runtime=None if runtime == FAST else runtime, device=device)
    return Built(known.head, InRuntime(made)), known.classes


def _known(card: ModelCard, path: Path, folder: Path, config: Path | None) -> Known:
    if path.is_file():
        if card.sha256:
            check(path, card.sha256)
        kept = recall(folder, path, card)
        if kept is not None:
            return kept
    known = find_out(card, path, config)
    keep(folder, path, card, known)
    return known


def filled(card: ModelCard, path: Path, config: Path | None) -> tuple[torch.nn.Module, Known]:
    """The network of the weights at `path`, and what it is. Raises InvalidWeights, InvalidInput."""
    content = read(path, card.sha256 or None)
    arch, classes = card.arch or content.arch or "", card.labels or content.names or ()
    if not arch or not classes:
        what = "network: give its arch, such as 'yolo11n.yaml'" if not arch else "classes: give them in their order"
        raise InvalidWeights(f"weights {path} don't name their {what}")
    offline.ultralytics(config)
    module, head = raw.checked(content, arch, classes)
    return module, Known(arch, tuple(classes), head)


def _in_torch(module: torch.nn.Module, device: str | None) -> InTorch:
    import torch

    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    ready = module.to(place, memory_format=torch.channels_last)  # a third faster on a CPU
    return InTorch(ready, place, threading.Lock())


def padded(pictures: Sequence[NDArray[np.uint8]], multiple: int) -> NDArray[np.uint8]:
    """(N, H, W, 3), grey to the right and below, so that both sides are multiples of `multiple`."""
    height, width = pictures[0].shape[:2]
    shape = (len(pictures), -(-height // multiple) * multiple, -(-width // multiple) * multiple, 3)
    if shape[1:3] == (height, width):
        return np.stack(pictures)
    batch = np.full(shape, _GREY, np.uint8)
    batch[:, :height, :width] = np.stack(pictures)
    return batch
