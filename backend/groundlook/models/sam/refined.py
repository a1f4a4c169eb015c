"""A detector's boxes as masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from groundlook.core.geo import Tile
from groundlook.core.geometry import Box, envelope
from groundlook.core.ports import Model, Segmenter
from groundlook.core.prompts import Cut, Prompts, mask_terms
from groundlook.core.types import ModelVersion, Prediction, Region
from groundlook.models.sam.pictures import picture_of


class Refined:
    """A Model: `detector`, each of whose boxes is cut out by `segmenter`.

    A region keeps its label; its shape is the mask that answers its box, upright around it where it is turned; its
    score is the detector's times the mask's, as if the two erred independently; its note says both: "box .83,
    mask .91". A box that no mask answers, or that lies outside the tile, stays as it is; so do other shapes.
    What the prediction holds for scoring is the detector's (`proba`, `peak`, `spread`) and the segmenter's (`masks`).
    """

    def __init__(self, detector: Model, segmenter: Segmenter) -> None:
        self._detector, self._segmenter = detector, segmenter

    @property
    def version(self) -> ModelVersion:
        """The detector's, together with the segmenter's."""
        return self._detector.version.under(f"refined|{self._segmenter.version}")

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        """One prediction per tile, in order. Raises what the two models raise."""
        predictions = self._detector.predict(tiles)
        return [self._refined(tile, one) for tile, one in zip(tiles, predictions, strict=True)]

    def _refined(self, tile: Tile, prediction: Prediction) -> Prediction:
        boxes = {i: box for i, r in enumerate(prediction.regions) if (box := _box(r, tile.size)) is not None}
        regions = list(prediction.regions)
        masks = None
        if boxes:
            picture = picture_of(tile)
            self._segmenter.encode(picture)  # as bulk work: whoever waits for a click goes first
            cuts = self._segmenter.segment(picture, [Prompts(box=box) for box in boxes.values()])
            for place, cut in zip(boxes, cuts, strict=True):
                regions[place] = _cut_out(regions[place], cut)
            masks = mask_terms([cut for cut in cuts if cut.mask.area])
        return replace(prediction, version=self.version, regions=tuple(regions), masks=masks)


def _box(region: Region, size: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """What of a region's box lies in the tile, (x0, y0, x1, y1); None for other shapes and where nothing does."""
    if not isinstance(region.shape, Box):
        return None
    x0, y0, x1, y1 = envelope(region.shape)
    x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(size[0])), min(y1, float(size[1]))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _cut_out(region: Region, cut: Cut) -> Region:
    if cut.mask.area == 0:
        return replace(region, note="box: no mask answers it")
    box = "" if region.score is None else f"box {_short(region.score)}, "
    score = cut.score if region.score is None else region.score * cut.score
    return replace(region, shape=cut.mask, score=score, note=f"{box}mask {_short(cut.score)}")


def _short(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")
