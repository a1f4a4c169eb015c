"""The small SAM, ready to answer, and what tests ask of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import Tile
from groundlook.core.mask import Mask
from groundlook.core.plan import ModelSpec
from groundlook.core.prompts import Picture, Prompts
from groundlook.models.sam.pictures import picture_of
from groundlook.models.sam.segment import SamSegmenter
from tests.weights.scenery import Labelled, blocks, crop, village

TINY = Path(__file__).resolve().parent / "sam_tiny.safetensors"
HELD_OUT = 9000
"""Seeds from here on are of pictures that the small SAM never saw."""

Encoding = Mapping[str, NDArray[np.float16]]


class Memory:
    """Encodings of this process. `made`: how often something had to be made; `bulk`: how often as bulk work."""

    def __init__(self) -> None:
        self._kept: dict[str, Encoding] = {}
        self._lock = threading.Lock()
        self.made = self.bulk = 0

    def get(self, key: str, make: Callable[[], Encoding], bulk: bool = False) -> Encoding:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = make()
                self.made += 1
                self.bulk += bulk
            return self._kept[key]

    def has(self, key: str) -> bool:
        return key in self._kept


def tiny(folder: Path, memory: Memory | None = None, weights: Path = TINY, **options: float) -> SamSegmenter:
    """In eager PyTorch: nothing is exported, and it loads in a second."""
    spec = ModelSpec("sam", "sam", options=options)
    return SamSegmenter.load(spec, weights, memory or Memory(), folder, runtime="torch eager")


@contextmanager
def one_thread() -> Iterator[None]:
    """Small networks wait for each other's threads on a busy machine, longer than they compute."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def held_out(count: int = 6, size: int = 256) -> tuple[Labelled, ...]:
    """Pictures that it never saw: two villages' parts at two scales, and blocks."""
    rng = np.random.default_rng(HELD_OUT)
    grounds = [village(1024, HELD_OUT + i) for i in range(2)]
    parts = [crop(grounds[i % 2], (256, 384)[i // 2 % 2], size, rng) for i in range(count * 3 // 4)]
    return *parts, *(blocks(size, rng) for _ in range(count - len(parts)))


def picture(scene: Labelled) -> Picture:
    return picture_of(Tile(scene.pixels))


def click(x: float, y: float, *more: tuple[float, float, bool]) -> Prompts:
    """A positive point, and others with their signs."""
    points = np.array([[x, y], *((a, b) for a, b, _ in more)], np.float32)
    return Prompts(points, np.array([True, *(sign for _, _, sign in more)]))


def boxed(mask: Mask) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = mask.corners()[[0, 2]]
    return float(x0), float(y0), float(x1), float(y1)
