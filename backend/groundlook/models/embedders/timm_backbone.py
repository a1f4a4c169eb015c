"""An Embedder out of one of timm's networks, with weights from a file. Nothing is ever downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput, InvalidWeights
from groundlook.core.geo import Tile
from groundlook.models.embedders.pooled import called, finite, picture
from groundlook.models.weights.file import read

_HEADS = ("fc.", "classifier.", "head.", "head_dist.", "last_linear.")


class TimmBackbone:
    """What network `arch` ("resnet18") says before it is asked for a class, of pictures as it was trained on. Raises
    InvalidInput where timm is not installed or knows no such network, InvalidWeights."""

    def __init__(self, arch: str, path: Path) -> None:
        try:
            import timm
            import torch
            from timm.data import resolve_data_config
        except ImportError:
            raise InvalidInput("this embedder needs timm: pip install groundlook[timm]") from None
        if arch not in timm.list_models():
            raise InvalidInput(f"timm has no network {arch!r}; python -c 'import timm; print(timm.list_models())'")
        self.name = called("timm", arch, path)
        self._torch: Any = torch
        self._network: Any = timm.create_model(arch, pretrained=False, num_classes=0)
        _fill(self._network, read(path).state, path, arch)
        self._network.eval()
        about: Any = resolve_data_config({}, model=self._network)
        self._size = (int(about["input_size"][1]), int(about["input_size"][2]))
        self._mean = np.asarray(about["mean"], np.float32)
        self._std = np.asarray(about["std"], np.float32)

    def embed(self, tiles: Sequence[Tile]) -> NDArray[np.float32]:
        """See `core.ports.Embedder`."""
        return finite(self.name, [self._row(tile) for tile in tiles], 0)

    def _row(self, tile: Tile) -> NDArray[np.float32]:
        seen = (picture(tile, self._size).astype(np.float32) / 255 - self._mean) / self._std
        with self._torch.inference_mode():
            said = self._network(self._torch.from_numpy(np.ascontiguousarray(seen.transpose(2, 0, 1)))[None])
        row: NDArray[np.float32] = said[0].numpy()
        return row


def _fill(network: Any, state: dict[str, Any], path: Path, arch: str) -> None:
    """Every tensor but those of a classifier's head. Raises InvalidWeights that names the first that does not fit."""
    own = network.state_dict()
    for name, value in own.items():
        if name not in state or state[name].shape != value.shape:
            raise InvalidWeights(f"weights {path} are not those of {arch}: {name} does not fit; name their network")
    extra = [name for name in state if name not in own and not name.startswith(_HEADS)]
    if extra:
        raise InvalidWeights(f"weights {path} have tensors that {arch} lacks, the first is {extra[0]!r}")
    network.load_state_dict({name: state[name] for name in own})
