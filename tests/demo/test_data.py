"""The demo's data sets behind one interface."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio

from groundlook.core.errors import InvalidInput, NotFound
from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.geometry import Box, envelope
from groundlook.core.tiling import grid, spatial_split
from groundlook.core.types import Region
from groundlook.demo.data import Dataset, config_xml, load_dataset
from groundlook.demo.hand import answer, drawn
from groundlook.demo.places import neon, oam, slippy


def _one(*regions: Region) -> Dataset:
    return Dataset("x", (), ("A",), config_xml(["A"]), 256, 0, 1.0, lambda tile: regions)


TILE = TileRef("x.tif", "", (0, 0, 256, 256))


def test_shapes_inside_stay_as_they_are_turned_ones_too() -> None:
    turned = Region(Box(100, 100, 40, 20, 30), "A")
    assert _one(turned).truth_for(TILE) == [turned]


def test_shapes_over_the_edge_become_the_box_of_what_is_left() -> None:
    (left,) = _one(Region(Box(-10, 50, 30, 20), "A")).truth_for(TILE)
    assert envelope(left.shape) == (0, 50, 20, 70)
    (cut,) = _one(Region(Box(240, 100, 40, 20, 30), "A")).truth_for(TILE)
    assert isinstance(cut.shape, Box)
    assert cut.shape.rotation == 0
    assert envelope(cut.shape)[2] == 256


@pytest.mark.parametrize("box", [Box(-28, 50, 35, 20), Box(252, 50, 12, 20), Box(300, 50, 9, 9), Box(50, 50, 30, 2)])
def test_slivers_and_specks_are_left_out(box: Box) -> None:
    assert _one(Region(box, "A")).truth_for(TILE) == []


def test_scene_covers_its_tiles_with_truth_in_tile_pixels(tmp_path: Path) -> None:
    data = load_dataset("scene", tmp_path, seed=5, size=1024)
    with rasterio.open(data.paths[0]) as source:
        georef = GeoRef(source.crs.to_string(), tuple(source.transform)[:6])
    splits = set()
    objects = 0
    for window in grid(1024, 1024, data.tile_size, data.overlap):
        tile = TileRef(str(data.paths[0]), "", window, georef.window(*window[:2]))
        splits.add(spatial_split(tile, data.block, 0.3, "demo"))
        for region in data.truth_for(tile):
            assert region.label in data.labels
            x0, y0, x1, y1 = envelope(region.shape)
            assert x0 >= 0
            assert y0 >= 0
            assert x1 <= 256
            assert y1 <= 256
            objects += 1
    assert objects > 100
    assert "margin" not in splits  # the grid and the blocks share their edges


def test_slippy_tile_is_where_web_mercator_says() -> None:
    world = slippy("OAM-0-0-0.png")
    assert world.to_map(np.array([[0.0, 0.0], [256.0, 256.0]])) == pytest.approx(
        np.array([[-20037508.342789244, 20037508.342789244], [20037508.342789244, -20037508.342789244]])
    )
    right = slippy("OAM-1-1-1.png")
    assert right.to_map(np.array([[0.0, 0.0]])) == pytest.approx(np.zeros((1, 2)), abs=1e-6)
    with pytest.raises(InvalidInput, match=r"photo\.png"):
        slippy("photo.png")


def test_oam_has_buildings_on_single_zoom_tiles(data_dir: Path) -> None:
    data = oam(data_dir / "oam_buildings")
    tiles = [TileRef(str(p), "", (0, 0, 256, 256), slippy(p.name)) for p in data.paths]
    counts = [len(data.truth_for(tile)) for tile in tiles]
    assert len(set(data.paths)) == len(data.paths)
    assert 100 <= sum(c > 0 for c in counts) <= 200
    assert all(p.is_absolute() and p.name.endswith("-20.png") for p in data.paths)
    # with or without the georeference that ingest gives, the truth is the same
    bare = TileRef(tiles[5].source, "", (0, 0, 256, 256))
    assert data.truth_for(bare) == data.truth_for(tiles[5])
    assert {spatial_split(t, data.block, 0.25, "demo") for t in tiles} == {"train", "val"}


def test_neon_boxes_are_clean(data_dir: Path) -> None:
    data = neon(data_dir / "neon_trees")
    assert len(data.paths) == 69
    boxes = 0
    for path in data.paths:
        with rasterio.open(path) as source:
            tile = TileRef(str(path), "", (0, 0, source.width, source.height))
        found = data.truth_for(tile)
        assert {r.label for r in found} == {"Tree"}
        boxes += len(found)
    assert boxes > 1000


def test_unknown_name_and_missing_data_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="scene, oam, neon"):
        load_dataset("mars", tmp_path)
    monkeypatch.setenv("GROUNDLOOK_DATA", str(tmp_path))
    with pytest.raises(NotFound, match="GROUNDLOOK_DATA"):
        load_dataset("oam", tmp_path)


def test_config_names_every_label_and_survives_odd_ones() -> None:
    root = ElementTree.fromstring(config_xml(["Building", 'A "b" <c>']))  # noqa: S314
    assert [e.get("value") for e in root.iter("Label")] == ["Building", 'A "b" <c>']
    image = root.find("Image")
    assert image is not None
    assert image.get("value") == "$image"


def test_hand_stays_within_its_jitter_and_on_the_tile() -> None:
    rng = np.random.default_rng(0)
    for shape in (Box(0, 0, 40, 30), Box(90, 60, 60, 20, 33.0), Box(200, 230, 56, 26)):
        for _ in range(50):
            region = drawn(Region(shape, "A", 0.9, "old", "prediction"), rng, 1.0, (256, 256))
            moved = np.hypot(*(region.shape.corners() - shape.corners()).T)
            assert moved.max() <= np.sqrt(2)
            assert region.score is None
            assert region.origin == "manual"
            assert len(region.uid) == 10
            x0, y0, x1, y1 = envelope(region.shape)
            assert min(x0, y0) >= 0
            assert max(x1, y1) <= 256


def test_answer_is_repeatable_and_encodes_each_region() -> None:
    truth = [Region(Box(10, 10, 40, 30), "A"), Region(Box(60, 60, 40, 30, 5), "A")]

    def encode(region: Region) -> dict[str, object]:
        return {"id": region.uid, "shape": region.shape}

    first = answer(truth, np.random.default_rng(1), 1.0, encode, (256, 256))
    second = answer(truth, np.random.default_rng(1), 1.0, encode, (256, 256))
    assert first == second
    assert len({r["id"] for r in first}) == 2
    assert answer([], np.random.default_rng(1), 1.0, encode, (256, 256)) == []
