"""The kind "ml_base": a LabelStudioMLBase subclass as a Model. Its weights are the Python file of the subclass.

It runs in the Python that label-studio-ml is installed in (the option `python`), which can't be ours: 1.0.9 wants a
Flask of 2020. It says which regions it sees, and how sure it is of each where it does; no more is known of its doubts.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from groundlook.core.errors import InvalidConfig
from groundlook.core.geo import Tile
from groundlook.core.types import LabelConfig, ModelCard, ModelVersion, Prediction, Region
from groundlook.models.labels import map_classes
from groundlook.models.pixels import as_rgb
from groundlook_adapters.labelstudio.config import SERVED, parse_config
from groundlook_adapters.labelstudio.ml_base.answers import regions_of
from groundlook_adapters.labelstudio.ml_base.process import PICTURES, MlBaseProcess, Mounted

PATIENCE = 60.0
"""Seconds for a tile: Label Studio gives up after 100."""


class MlBaseModel:
    """Implements `core.ports.Model`. Make one with `load`. Calls wait for each other: the subclass sees one at a time.

    `labels`: the columns of `proba`; `places`: what each label of the subclass is among them, None for what is left
    out. `least`: the score of the least sure region that is shown.
    """

    def __init__(
        self,
        version: ModelVersion,
        mounted: Mounted,
        config: LabelConfig,
        labels: Sequence[str],
        places: Mapping[str, int | None],
        least: float,
    ) -> None:
        self._version, self._config, self._least = version, config, least
        self._labels, self._places = tuple(labels), dict(places)
        self._several = any(c.several for c in config.controls if c.name == config.control)
        self._folder = Path(tempfile.mkdtemp(prefix="groundlook-ml-base-"))
        weakref.finalize(self, shutil.rmtree, self._folder, True)
        self._process = MlBaseProcess(mounted, self._folder)
        self._process.start()

    @classmethod
    def load(
        cls,
        card: ModelCard,
        weights: Path,
        labels: Sequence[str] | None,
        mapping: Mapping[str, str] | None = None,
        *,
        confidence: float = 0.25,
        python: Any = "",
        subclass: Any = "",
        label_config: Any = "",
        control: Any = "RectangleLabels",
        pictures: Any = "files",
        timeout: Any = PATIENCE,
    ) -> MlBaseModel:
        """Start the subclass in the file `weights`. The further arguments are a plan's options.

        `python`: its interpreter. `subclass`: the class, where the file has several. `label_config`: the XML that it
        was written for, or a path to it; without, one with a `control` for the card's classes, else for `labels`.
        `pictures`: see `process.PICTURES`. `timeout`: seconds for a tile. `mapping`: its label → ours. Raises
        InvalidConfig for options that are none, InvalidWeights where it can't be started.
        """
        texts = {"python": python, "subclass": subclass, "label_config": label_config}
        for name, value in texts.items():
            if not isinstance(value, str):
                raise InvalidConfig(f"option {name} = {value!r} of a model of kind ml_base is not text")
        if not python:
            raise InvalidConfig(
                "a model of kind ml_base needs the option python: the path of the python of an environment that "
                "label-studio-ml is installed in"
            )
        if pictures not in PICTURES:
            raise InvalidConfig(f"option pictures = {pictures!r}: choose {', '.join(PICTURES)}")
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < float("inf"):
            raise InvalidConfig(f"option timeout = {timeout!r}: seconds, more than 0")
        xml = _xml(label_config, control, card.labels or tuple(mapping or ()) or labels or ())
        config = parse_config(xml)
        classes = tuple(dict.fromkeys(label for c in config.controls for label in c.labels))
        wanted = tuple(labels) if labels is not None else classes
        places = map_classes(classes, wanted, mapping) if classes else ()
        mounted = Mounted(
            Path(python).expanduser(), weights, subclass, xml, config.data_key, str(pictures), float(timeout)
        )
        found = dict(zip(classes, places, strict=True))
        return cls(card.version, mounted, config, wanted, found, confidence)

    @property
    def version(self) -> ModelVersion:
        """By the content of its file."""
        return self._version

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        """See `core.ports.Model`. Raises InvalidInput with what the subclass raised, InvalidWeights where it crashed or
        took too long; the next call finds it started again."""
        return [self._one(tile) for tile in tiles]

    def _one(self, tile: Tile) -> Prediction:
        rgb = as_rgb(tile)
        handle, name = tempfile.mkstemp(".png", dir=self._folder)
        path = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                Image.fromarray(rgb).save(file, "PNG", compress_level=1)
            answer = self._process.predict(path.name)
        finally:
            path.unlink(missing_ok=True)
        found = regions_of(answer, self._config, tile.size)
        return Prediction(self._version, (), knows=False) if found is None else self._told(found)

    def _told(self, found: Sequence[Region]) -> Prediction:
        """Its regions under our labels, and what they say of its doubts."""
        named = [(place, region) for region in found if (place := self._places.get(region.label)) is not None]
        ours = [(place, replace(region, label=self._labels[place])) for place, region in named]
        shown = tuple(region for _, region in ours if region.score is None or region.score >= self._least)
        told = [(place, np.nan if region.score is None else region.score) for place, region in ours]
        peak = max((score for _, score in told if np.isfinite(score)), default=0.0)
        if self._config.control_type != "Choices":
            return Prediction(self._version, shown, _rows(told, len(self._labels)), peak)
        if self._several:
            rows = _rows(told, len(self._labels)).sum(axis=0, keepdims=True)
            return Prediction(self._version, shown, rows, peak, kind="classification-multiple")
        return Prediction(self._version, shown, _exclusive(told, len(self._labels)), peak, kind="classification")


def _rows(told: Sequence[tuple[int, float]], columns: int) -> NDArray[np.float32]:
    """(M, C): of each (column, score) its score; all of a row is NaN, unknown, where the score is."""
    table = np.zeros((len(told), columns), np.float32)
    for row, (place, score) in zip(table, told, strict=True):
        row[place] = score
        row[:] = row if np.isfinite(score) else np.nan
    return table


def _exclusive(told: Sequence[tuple[int, float]], columns: int) -> NDArray[np.float32]:
    """(1, C): the likeliest (column, score), the rest shared alike; NaN, unknown, where there is none with a score."""
    place, score = max(told, key=lambda t: np.nan_to_num(t[1], nan=-1.0), default=(0, np.nan))
    row = np.full((1, columns), (1 - score) / max(columns - 1, 1), np.float32)
    row[0, place] = score if columns > 1 else score / score
    return row


def _xml(given: str, control: Any, labels: Sequence[str]) -> str:
    """A label config: as given, out of a file, or made for `labels`."""
    if given.lstrip().startswith("<"):
        return given
    if given:
        try:
            return Path(given).expanduser().read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InvalidConfig(f"option label_config = {given!r}: neither XML nor a file of it ({error})") from None
    if control not in SERVED:
        raise InvalidConfig(f"option control = {control!r}: choose {', '.join(SERVED)}")
    if not labels:
        raise InvalidConfig("a model of kind ml_base needs its classes, or the option label_config")
    tag = "Choice" if control == "Choices" else "Label"
    each = "".join(f"<{tag} value={quoteattr(label)}/>" for label in labels)
    image = '<Image name="image" value="$image"/>'
    return f'<View>{image}<{control} name="label" toName="image">{each}</{control}></View>'
