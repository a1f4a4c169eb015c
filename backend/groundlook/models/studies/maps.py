"""What a frozen backbone makes of every tile, once: a grid of cells with a vector each, kept on disk.

A study's learner sees nothing else, so that learning from any part of the tiles takes about a second.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.ports import Progress
from groundlook.models.studies.sets import Labelled

GRID = 32
"""Cells along each side of a tile, whatever its size."""
PARTS = 128
_SIDE = 416
_CELLS = 60_000
_INNER = ("dark2/dark2.1", "dark3/dark3.1", "dark4/dark4.1", "dark5/dark5.2")
_OUTER = ("C3_p3", "C3_n3", "C3_n4")
YOLOX = (
    *(f"/backbone/backbone/{layer}/conv3/act/Mul_output_0" for layer in _INNER),
    *(f"/backbone/{layer}/conv3/act/Mul_output_0" for layer in _OUTER),
)
"""Of a YOLOX: backbone at strides 4 to 32, and what its neck gives to the heads."""

Look = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""RGB (H, W, 3) → float32 (C, GRID, GRID)."""


def look(embedder: str) -> Look:
    """By the text that names an embedder, "onnx:/path/yolox_nano.onnx"; of a network that is no YOLOX its coarsest map.
    Raises InvalidInput for an embedder without maps, and what `runtime.tapped` raises."""
    kind, _, given = embedder.partition(":")
    if kind != "onnx" or not given:
        raise InvalidInput(
            f"embedder {embedder!r} gives no maps to find objects in; take onnx:PATH, of yolox_nano.onnx say"
        )
    from groundlook.models.runtime.tapped import tapped

    network = tapped(Path(given).expanduser(), YOLOX, (_SIDE, _SIDE), threads=1)
    height, width = network.size or (_SIDE, _SIDE)
    yolox = network.maps == YOLOX

    def seen(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        given = resized[:, :, ::-1] if yolox else resized / 255  # a YOLOX learned from BGR of 0…255
        return np.concatenate([_on_grid(one[0]) for one in network(np.ascontiguousarray(given.transpose(2, 0, 1)))])

    return seen


def _on_grid(one: NDArray[np.float32]) -> NDArray[np.float32]:
    """(C, h, w) → (C, GRID, GRID): means of what is finer, bilinear where it is coarser."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d, interpolate

    given = torch.from_numpy(np.ascontiguousarray(one))[None]
    if given.shape[-1] >= GRID:
        found = adaptive_avg_pool2d(given, GRID)
    else:
        found = interpolate(given, size=(GRID, GRID), mode="bilinear", align_corners=False)
    return np.asarray(found[0].numpy(), np.float32)


def maps(tiles: Sequence[Labelled], embedder: str, cache: Path, progress: Progress) -> NDArray[np.float16]:
    """Float16 (N, GRID, GRID, P), P at most `PARTS`: principal components of what the backbone says, of all tiles,
    labelled or not: it is known without a label. Kept in `cache` by the embedder's weights and the tiles' pixels.
    Raises what `look` raises."""
    kept = cache / f"maps-{_key(tiles, embedder)}.npy"
    if kept.exists():
        return np.asarray(np.load(kept))
    seen, raw = look(embedder), []
    for number, tile in enumerate(tiles):
        if number % 32 == 0:
            progress(number / len(tiles), f"looking at tile {number} of {len(tiles)}")
        raw.append(seen(tile.pixels).astype(np.float16))
    found = turned(raw)
    cache.mkdir(parents=True, exist_ok=True)
    temporary = kept.with_suffix(f".{os.getpid()}.npy")
    np.save(temporary, found)
    temporary.replace(kept)
    return found


def turned(raw: Sequence[NDArray[np.float16]], parts: int = PARTS) -> NDArray[np.float16]:
    """(C, h, w) of each tile → (N, h, w, P): standardised, on the principal axes of some 60,000 cells, each scaled
    half-way to equal spread, of deviation about 1 all together."""
    channels, height, width = raw[0].shape
    each = max(_CELLS // len(raw), 1)
    rng = np.random.default_rng(0)
    flat = [one.reshape(channels, -1).T for one in raw]
    some = np.concatenate([one[rng.permutation(len(one))[:each]] for one in flat]).astype(np.float32)
    middle, spread = some.mean(axis=0), some.std(axis=0) + 1e-3
    some = (some - middle) / spread
    values, axes = np.linalg.eigh(some.T @ some / len(some))
    best = np.argsort(-values)[: min(parts, channels)]
    across = axes[:, best] / np.maximum(values[best], 1e-6) ** 0.25
    across /= np.sqrt(((some @ across) ** 2).mean())
    found = [((one.astype(np.float32) - middle) / spread @ across).astype(np.float16) for one in flat]
    return np.stack(found).reshape(len(raw), height, width, -1)


def _key(tiles: Sequence[Labelled], embedder: str) -> str:
    seen = hashlib.sha256(f"{GRID} {PARTS} {_CELLS} {YOLOX}".encode())
    weights = Path(embedder.partition(":")[2]).expanduser()
    seen.update(weights.read_bytes() if weights.is_file() else embedder.encode())
    for tile in tiles:
        seen.update(tile.pixels.tobytes())
    return seen.hexdigest()[:16]
