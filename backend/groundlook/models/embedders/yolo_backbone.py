"""An Embedder out of a YOLO checkpoint: its backbone, without neck and head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput, InvalidWeights
from groundlook.core.geo import Tile
from groundlook.models.embedders.pooled import called, finite, mean_and_spread, picture
from groundlook.models.weights.file import read
from groundlook.models.yolo.network import build

_SIDE = 320
_MAPS = 2


class YoloBackbone:
    """The mean and the deviation of every channel of the two coarsest maps of an ultralytics backbone.

    `arch`: its network ("yolov5n.yaml"), where the file does not say. Tensors of neck and head may be anything: those
    of the backbone must all be there. Raises InvalidWeights, InvalidInput.
    """

    def __init__(self, path: Path, arch: str = "") -> None:
        import torch

        weights = read(path)
        arch = arch or weights.arch or ""
        if not arch:
            raise InvalidInput(f"weights {path} don't say their network: write yolo:yolov5n.yaml:{path}, say")
        self.name = called("yolo", path.stem, path)
        self._torch: Any = torch
        network: Any = build(arch, 1)
        self._layers: Any = network.model[: len(network.yaml["backbone"])]
        _fill(self._layers, weights.state, path, arch)
        self._layers.eval()

    def embed(self, tiles: Sequence[Tile]) -> NDArray[np.float32]:
        """See `core.ports.Embedder`."""
        return finite(self.name, [self._row(tile) for tile in tiles], 0)

    def _row(self, tile: Tile) -> NDArray[np.float32]:
        torch = self._torch
        seen = picture(tile, (_SIDE, _SIDE)).astype(np.float32).transpose(2, 0, 1) / 255
        coarsest: dict[int, Any] = {}
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(seen))[None]
            for layer in self._layers:
                x = layer(x)
                coarsest[int(x.shape[-1])] = x  # the last of every size
        return mean_and_spread([coarsest[side].numpy() for side in sorted(coarsest)[:_MAPS]])


def _fill(layers: Any, state: dict[str, Any], path: Path, arch: str) -> None:
    """Every tensor of the backbone from `state`. Raises InvalidWeights that names the first that does not fit."""
    own = layers.state_dict()
    given: dict[str, Any] = {name: state.get(f"model.{name}") for name in own}
    for name, value in own.items():
        if given[name] is None or given[name].shape != value.shape:
            raise InvalidWeights(f"weights {path} don't fit the backbone of {arch}: model.{name}; name their network")
    layers.load_state_dict(given)
