"""mask-cog: `masks/<scene>.tif`, one class mask per scene on the scene's own grid, and `classes.json`.

Classes count from 1 in the config's order; 0 is ground that was reviewed and holds nothing, 255 (nodata) what nobody
reviewed. Keypoints and classes of whole tiles cover no ground: counted, left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from groundlook.core.errors import InvalidInput
from groundlook.core.mask import Mask
from groundlook_adapters.rasters.classmask import EMPTY, UNREVIEWED, ClassMask, check_labels
from groundlook_adapters.vectors.datasets.parts import (
    DatasetTile,
    SizeOf,
    Tally,
    places_of,
    seen,
    skip_whole_tile_classes,
    without_points,
)
from groundlook_adapters.vectors.datasets.scenes import Scene, Scenes


class Masks:
    """The writer of the format."""

    def __init__(self, draft: Path, labels: Sequence[str], size_of: SizeOf | None, tally: Tally) -> None:
        check_labels(labels)
        if size_of is None:
            raise InvalidInput("mask-cog needs the size of each scene: give size_of")
        self._draft, self._labels, self._places, self._tally = draft, labels, places_of(labels), tally
        self._folder = draft / "masks"
        self._folder.mkdir()
        self._scenes = Scenes(size_of, tally, self._make)

    def add(self, tile: DatasetTile) -> None:
        found = self._scenes.find(tile)
        if found is None:
            return
        _, mask = found
        skip_whole_tile_classes(tile, self._tally)
        things = []
        for thing in without_points(seen(tile, self._places, self._tally), self._tally):
            shape = thing.region.shape
            things.append((shape if isinstance(shape, Mask) else thing.geometry, thing.place + 1))
            self._tally.regions += 1
            self._tally.clipped += not thing.whole
        mask.burn(tile.tile.window, things)
        self._tally.splits[tile.split or "train"] += 1

    def close(self) -> None:
        for _, mask in self._scenes.all():
            mask.finish()
            self._tally.images += 1
        names = {EMPTY: "reviewed, empty", **{i: x for x, i in self._numbers()}, UNREVIEWED: "not reviewed"}
        body = {str(value): name for value, name in names.items()}
        (self._draft / "classes.json").write_text(json.dumps(body, indent=1) + "\n", encoding="ascii")

    def _numbers(self) -> list[tuple[str, int]]:
        return [(label, i + 1) for i, label in enumerate(self._labels)]

    def _make(self, scene: Scene) -> ClassMask:
        if scene.size is None:
            raise InvalidInput(f"the size of {scene.name} is not known; ingest the scene again")
        return ClassMask(self._folder / f"{scene.name}.tif", scene.size, scene.georef, self._labels)
