"""Examples of whole-tile classes → folders that ultralytics trains on, one a class."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

import cv2

from groundlook.core.errors import TrainingFailed
from groundlook.core.geo import Tile
from groundlook.core.geometry import WholeTile
from groundlook.core.types import Region
from groundlook.models.pixels import as_rgb
from groundlook.models.training.aside import place_of
from groundlook.models.yolo.dataset import Written, save_png
from groundlook.models.yolo.network import CLASSIFIED_PX


def write(examples: Iterable[tuple[Tile, Sequence[Region]]], labels: Sequence[str], folder: Path) -> Written:
    """Write the tiles with exactly one class of `labels`. Raises TrainingFailed where there is none."""
    numbers = {label: i for i, label in enumerate(labels)}
    for i in numbers.values():
        for part in ("train", "val"):  # (one that is empty counts, so that the numbers are the labels' own)
            (folder / part / f"{i:04d}").mkdir(parents=True)
    seen = 0
    names: list[str] = []
    classes: list[frozenset[int]] = []
    places: list[Hashable] = []
    for seen, (tile, regions) in enumerate(examples, 1):
        said = {numbers[r.label] for r in regions if isinstance(r.shape, WholeTile) and r.label in numbers}
        if len(said) == 1:
            small = cv2.resize(as_rgb(tile), (CLASSIFIED_PX, CLASSIFIED_PX), interpolation=cv2.INTER_AREA)
            (found,) = said
            names.append(f"{len(names):06d}")
            classes.append(frozenset(said))
            places.append(place_of(tile, seen))
            save_png(folder / "train" / f"{found:04d}" / f"{names[-1]}.png", small[:, :, ::-1])
    if not names:
        raise TrainingFailed(f"none of the {seen} tiles has one class of {' or '.join(labels) or '(none)'}: label some")
    return Written(folder, CLASSIFIED_PX, len(names), tuple(names), tuple(classes), tuple(places))
