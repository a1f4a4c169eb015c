"""A detector's boxes as masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("segment_anything")

from groundlook.core.geo import Tile, TileRef
from groundlook.core.geometry import Box, Point
from groundlook.core.mask import Mask
from groundlook.core.types import ModelVersion, Prediction, Region
from groundlook.models.sam.calibrate import overlap
from groundlook.models.sam.pictures import picture_of
from groundlook.models.sam.refined import Refined
from tests.weights.house import Memory, boxed, held_out, one_thread, tiny


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with one_thread():
        yield


DETECTOR = ModelVersion("yolo", "0123456789ab")


class Detector:
    """Says what it is told to."""

    version = DETECTOR

    def __init__(self, regions: Sequence[Region]) -> None:
        self.regions = tuple(regions)

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        proba = np.full((3, 2), 0.5, np.float32)
        return [Prediction(DETECTOR, self.regions, proba, 0.83) for _ in tiles]


def region(mask: Mask) -> Region:
    x0, y0, x1, y1 = boxed(mask)
    return Region(Box(x0, y0, x1 - x0, y1 - y0), "Roof", 0.83, origin="prediction")


def test_boxes_become_masks_and_say_how_sure_both_are(tmp_path: Path) -> None:
    scene = held_out()[0]
    masks = [Mask.of(m) for m in scene.masks(300)]
    memory = Memory()
    segmenter = tiny(tmp_path, memory)
    model = Refined(Detector([region(m) for m in masks]), segmenter)
    (found,) = model.predict([Tile(scene.pixels)])
    assert found.version == model.version != DETECTOR
    assert found.version.name == "yolo"
    assert (found.peak, found.proba.shape) == (0.83, (3, 2))
    ious = []
    for one, mask in zip(found.regions, masks, strict=True):
        assert isinstance(one.shape, Mask)
        ious.append(overlap(one.shape, mask))
        assert one.label == "Roof"
        assert one.score is not None
        assert 0 < one.score <= 0.83
        assert one.note == f"box .83, mask {one.score / 0.83:.2f}".replace(" 0.", " .")
    assert np.mean(ious) > 0.8
    assert memory.bulk == memory.made == 1


def test_what_is_no_box_or_outside_stays(tmp_path: Path) -> None:
    scene = held_out()[0]
    kept = [Region(Point(3, 4), "Roof", 0.5), Region(Box(300, 300, 20, 20), "Roof", 0.5)]
    memory = Memory()
    model = Refined(Detector(kept), tiny(tmp_path, memory))
    (found,) = model.predict([Tile(scene.pixels)])
    assert found.regions == tuple(kept)
    assert memory.made == 0


def test_turned_boxes_and_those_over_the_edge_are_refined(tmp_path: Path) -> None:
    scene = held_out()[0]
    boxes = [Region(Box(100, 60, 60, 40, 30), "Roof", 0.5), Region(Box(-10, -10, 60, 60), "Roof", None)]
    (found,) = Refined(Detector(boxes), tiny(tmp_path)).predict([Tile(scene.pixels)])
    for one in found.regions:
        assert isinstance(one.shape, Mask) or one.note == "box: no mask answers it"
    assert found.regions[1].note.startswith(("mask", "box: no"))


def test_a_tile_is_known_by_its_uid_or_its_pixels() -> None:
    pixels = held_out()[0].pixels
    ref = TileRef("scene.tif", "e", (0, 0, 256, 256))
    assert picture_of(Tile(pixels, ref)).key == ref.uid
    first, copy, other = (picture_of(Tile(p)) for p in (pixels, pixels.copy(), pixels[:, ::-1]))
    assert first.key == copy.key != other.key
    assert picture_of(Tile(np.zeros((4, 6, 1), np.uint8))).key != picture_of(Tile(np.zeros((6, 4, 1), np.uint8))).key
