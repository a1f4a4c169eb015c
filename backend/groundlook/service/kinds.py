"""Every kind of model, by the name that plans, `connect --model` and model cards use."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from groundlook.core.errors import InvalidConfig

GROUP = "groundlook.models"


@dataclass(frozen=True, slots=True)
class Kind:
    """`model`: "module:Class" with `load(card, weights, labels, mapping, *, confidence) -> Model`; `trainer`: a Trainer
    made of (arch, epochs=…), "" for a kind that does not learn here. `arch`: of trainings that name none; `several`:
    the same for tiles of which several classes may hold. `fast`: its `load` takes `runtime` and `folder` too, and runs
    in the fastest runtime that computes the same."""

    model: str
    trainer: str = ""
    arch: str = ""
    several: str = ""
    fast: bool = False

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
    "sam": Kind(f"{_MODELS}.sam.kind:Sam"),
    "yolo": Kind(f"{_MODELS}.yolo.predict:YoloModel", f"{_MODELS}.yolo.train:YoloTrainer", "yolov5n.yaml", fast=True),
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


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
