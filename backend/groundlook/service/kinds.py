"""Every kind of model, by the name that plans, `connect --model` and model cards use."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

import numpy as np

from groundlook.core.errors import InvalidConfig
from groundlook.core.geometry import Box, Point, Shape, WholeTile
from groundlook.core.mask import Mask

GROUP = "groundlook.models"


@dataclass(frozen=True, slots=True)
class Kind:
    """`model`: "module:Class" with `load(card, weights, labels, mapping, *, confidence) -> Model`; `trainer`: a Trainer
    made of (arch, epochs=…), "" for a kind that does not learn here. `arch`: of trainings that name none; `several`:
    the same for tiles of which several classes may hold. `fast`: its `load` takes `runtime` and `folder` too, and runs
    in the fastest runtime that computes the same. `options`: of a plan's model that `load` takes as they are.
    `paths`: those of its options that name files. `program`: its weights are a program, which only an admin's own plan
    may name, never one out of Label Studio."""

    model: str
    trainer: str = ""
    arch: str = ""
    several: str = ""
    fast: bool = False
    options: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    program: bool = False

    def load(self) -> Any:
        """The model's class, imported now."""
        return _load(self.model)

    def learns(self) -> Any:
        """The trainer's class, imported now. Raises InvalidConfig for a kind that has none."""
        if not self.trainer:
            raise InvalidConfig(f"models of {self.model} can't be trained here; connect with another --model")
        return _load(self.trainer)


_MODELS = "groundlook.models"
_PIXELS = f"{_MODELS}.segmentation.predict:SegmentationModel"
KINDS: dict[str, Kind] = {
    "sam": Kind(f"{_MODELS}.sam.kind:Sam", paths=("encoder",)),
    "yolo": Kind(
        f"{_MODELS}.yolo.predict:YoloModel",
        f"{_MODELS}.yolo.train:YoloTrainer",
        "yolov5n.yaml",
        "",
        True,
        ("keypoints",),
    ),
    "unet": Kind(_PIXELS, f"{_MODELS}.segmentation.train:SegmentationTrainer", "unet-resnet18"),
    "deeplabv3+": Kind(_PIXELS, f"{_MODELS}.segmentation.train:SegmentationTrainer", "deeplabv3plus-resnet18"),
    "maskrcnn": Kind(
        f"{_MODELS}.maskrcnn.predict:MaskRCNNModel",
        f"{_MODELS}.maskrcnn.train:MaskRCNNTrainer",
        "maskrcnn-resnet18-fpn",
    ),
    "classifier": Kind(
        f"{_MODELS}.classifier.predict:ClassifierModel",
        f"{_MODELS}.classifier.train:ClassifierTrainer",
        "classifier-thumbnail-1",
        "classifier-multiple-thumbnail-1",
    ),
    "ml_base": Kind(
        "groundlook.service.wiring.ml_base:MlBaseModel",
        options=("python", "subclass", "label_config", "control", "pictures", "timeout"),
        program=True,
    ),
}


def kinds() -> dict[str, Kind]:
    """Ours, and those of installed packages: an entry point of the group "groundlook.models" gives a Kind."""
    found = {e.name: e.load() for e in entry_points(group=GROUP) if e.name not in KINDS}
    return {**KINDS, **{name: kind for name, kind in found.items() if isinstance(kind, Kind)}}


def kind_of(name: str) -> Kind:
    """A kind by name. Raises InvalidConfig."""
    known = kinds()
    if name not in known:
        raise InvalidConfig(f"there is no model kind {name!r}; there are: {', '.join(sorted(known))}")
    return known[name]


def kind_by_arch(arch: str) -> str:
    """The kind of weights that name their network."""
    prefixes = {"unet-": "unet", "deeplabv3plus-": "deeplabv3+", "maskrcnn-": "maskrcnn", "classifier-": "classifier"}
    return next((kind for prefix, kind in prefixes.items() if arch.startswith(prefix)), "yolo")


def finds(kind: str, arch: str) -> Shape:
    """An example of what models of a kind find, by which a control for it can be chosen."""
    if kind == "classifier" or arch.removesuffix(".yaml").endswith("-cls"):
        return WholeTile()
    if arch.removesuffix(".yaml").endswith("-pose"):
        return Point(0, 0)
    if kind == "yolo" and not arch.removesuffix(".yaml").endswith("-seg"):
        return Box(0, 0, 1, 1)
    return Mask(1, 1, np.array([[0, 1]], dtype=np.int64))


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
