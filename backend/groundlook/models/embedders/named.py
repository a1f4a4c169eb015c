"""Which Embedder a setting means. Its name holds the hash of its weights: a changed file is another embedder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidConfig
from groundlook.core.geo import Tile
from groundlook.core.ports import Embedder
from groundlook.models.embedders.pooled import called
from groundlook.models.embedders.turned import PREFIX, Turned
from groundlook.models.thumbnail import Thumbnail

THUMBNAIL = Thumbnail.name


class Later:
    """An Embedder whose network is made when it is first needed: most commands need its name only."""

    def __init__(self, name: str, make: Callable[[], Embedder]) -> None:
        self.name, self._make = name, make
        self._made: Embedder | None = None
        self._lock = threading.Lock()

    def embed(self, tiles: Sequence[Tile]) -> NDArray[np.float32]:
        """See `core.ports.Embedder`. Raises what making it raises, InvalidWeights and InvalidInput."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
        return self._made.embed(tiles)


def _onnx(given: str) -> Embedder:
    def make() -> Embedder:
        from groundlook.models.embedders.onnx_backbone import OnnxBackbone

        return OnnxBackbone(path)

    path = _file(given)
    return Later(called("onnx", path.stem, path), make)


def _yolo(given: str) -> Embedder:
    def make() -> Embedder:
        from groundlook.models.embedders.yolo_backbone import YoloBackbone

        return YoloBackbone(path, f"{arch}.yaml" if arch else "")

    arch, _, file = given.rpartition(".yaml:")
    path = _file(file)
    return Later(called("yolo", path.stem, path), make)


def _timm(given: str) -> Embedder:
    def make() -> Embedder:
        from groundlook.models.embedders.timm_backbone import TimmBackbone

        return TimmBackbone(arch, path)

    arch, _, file = given.partition(":")
    if not file:
        raise InvalidConfig(f"timm:{given} names no weights: write timm:NAME:/path/of/weights; none are downloaded")
    path = _file(file)
    return Later(called("timm", arch, path), make)


BACKBONES: dict[str, Callable[[str], Embedder]] = {"onnx": _onnx, "yolo": _yolo, "timm": _timm}
"""By the word before the colon; each is called with what stands after it."""


def embedder_of(text: str) -> Embedder:
    """ "thumbnail-1", "onnx:/path/yolox_nano.onnx", "yolo:/path/best.pt", "yolo:yolov5n.yaml:/path/state.pt" or
    "timm:resnet18:/path/weights"; "d4:" before any of them looks at each tile from all sides. Raises InvalidConfig
    that says so, InvalidWeights, InvalidInput."""
    if text == THUMBNAIL:
        return Thumbnail()
    kind, _, given = text.partition(":")
    if kind == PREFIX and given:
        return Turned(embedder_of(given))
    if kind not in BACKBONES or not given:
        raise InvalidConfig(
            f"embedder {text!r} is not known: choose {THUMBNAIL}, onnx:PATH, yolo:PATH, yolo:NETWORK.yaml:PATH or "
            "timm:NETWORK:PATH, or d4: before one of them"
        )
    return BACKBONES[kind](given)


def _file(path: str) -> Path:
    return Path(path).expanduser().resolve()
