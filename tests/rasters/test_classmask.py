"""Labels as class-mask GeoTIFFs: pixel by pixel what was drawn, on the scene's own grid."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput, NotFound
from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.tiling import grid
from groundlook.core.types import Region
from groundlook_adapters.rasters.classmask import EMPTY, UNREVIEWED, ClassMask
from groundlook_adapters.vectors.datasets import DatasetReport, DatasetTile, export_dataset

LABELS = ["car", "boat", "tree"]
TURNED = GeoRef("EPSG:32631", (0.4, 0.3, 448_000.0, 0.3, -0.4, 5_428_000.0))


def tile(
    *shapes: Shape | tuple[Shape, str],
    window: tuple[int, int, int, int] = (0, 0, 100, 80),
    georef: GeoRef | None = TURNED,
    source: str = "/data/scene.tif",
) -> DatasetTile:
    pairs = [s if isinstance(s, tuple) else (s, "car") for s in shapes]
    ref = TileRef(source, "e", window, None if georef is None else georef.window(*window[:2]), "s")
    return DatasetTile(ref, tuple(Region(s, label) for s, label in pairs), 1, 2)


def no_picture(_: TileRef) -> NDArray[np.uint8]:
    raise AssertionError("masks need no pictures")


def export(folder: Path, *tiles: DatasetTile, size: tuple[int, int] = (300, 200), **options: Any) -> DatasetReport:
    options = {"labels": LABELS, "size_of": lambda _: size} | options
    return export_dataset(folder, "mask-cog", tiles, picture=no_picture, **options)


def read(folder: Path, name: str = "scene.tif") -> NDArray[np.uint8]:
    with rasterio.open(folder / "masks" / name) as dataset:
        pixels: NDArray[np.uint8] = dataset.read(1)
    return pixels


def test_the_mask_lies_on_the_scenes_grid_and_names_its_classes(tmp_path: Path) -> None:
    report = export(tmp_path / "d", tile((Box(10, 10, 20, 5), "boat"), window=(64, 48, 100, 80)))
    with rasterio.open(tmp_path / "d" / "masks" / "scene.tif") as dataset:
        assert dataset.transform.almost_equals(rasterio.Affine(*TURNED.transform), 1e-9)
        assert (dataset.width, dataset.height, dataset.dtypes, dataset.nodata) == (300, 200, ("uint8",), UNREVIEWED)
        assert dataset.crs.to_epsg() == 32631
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.tags(1)["CLASS_2"] == "boat"
        assert dataset.tags(1)["CLASS_0"] == "reviewed, empty"
        table = dataset.colormap(1)
        assert len({table[i] for i in (0, 1, 2, 3, UNREVIEWED)}) == 5
        pixels = dataset.read(1)
    expected = np.full((200, 300), UNREVIEWED, dtype=np.uint8)
    expected[48:128, 64:164] = EMPTY
    expected[58:63, 74:94] = 2
    assert np.array_equal(pixels, expected)
    assert json.loads((tmp_path / "d" / "classes.json").read_text())["2"] == "boat"
    assert (report.images, report.regions, report.skipped) == (1, 1, {})
    assert sorted(p.name for p in (tmp_path / "d").rglob("*") if p.is_file()) == [
        "SHA256SUMS",
        "classes.json",
        "scene.tif",
    ]


def test_masks_are_exact_and_outlines_count_pixel_centres(tmp_path: Path) -> None:
    brush = np.random.default_rng(0).random((80, 100)) < 0.3
    turned, ellipse = Box(60, 10, 30, 12, 30), Ellipse(30, 50, 20, 9, 15)
    export(tmp_path / "a", tile((Mask.of(brush), "tree")))
    assert np.array_equal(read(tmp_path / "a")[:80, :100] == 3, brush)
    for name, shape in (("b", turned), ("c", ellipse), ("d", Polygon(((5.2, 5), (50.7, 9.1), (20, 40))))):
        export(tmp_path / name, tile(shape))
        x, y = np.meshgrid(np.arange(100) + 0.5, np.arange(80) + 0.5)
        inside = shapely.contains_xy(shapely.Polygon(shape.corners()), x, y)
        assert inside.sum() > 100
        assert np.array_equal(read(tmp_path / name)[:80, :100] == 1, inside)


def test_overlapping_tiles_never_erase_each_others_things(tmp_path: Path) -> None:
    first = tile(Box(80, 10, 20, 10), window=(0, 0, 100, 80))
    second = tile((Box(60, 40, 10, 10), "tree"), window=(50, 0, 100, 80))
    for name, order in (("a", (first, second)), ("b", (second, first))):
        export(tmp_path / name, *order)
        pixels = read(tmp_path / name)
        assert (pixels[10:20, 80:100] == 1).all()
        assert (pixels[40:50, 110:120] == 3).all()
        assert (pixels == UNREVIEWED).sum() == 200 * 300 - 150 * 80


def test_later_regions_lie_on_top_whatever_they_are(tmp_path: Path) -> None:
    brush = np.zeros((80, 100), dtype=bool)
    brush[20:40, 20:40] = True
    export(tmp_path / "d", tile(Box(10, 10, 50, 50), (Mask.of(brush), "boat"), (Box(25, 25, 5, 5), "tree")))
    pixels = read(tmp_path / "d")
    assert (pixels[12, 12], pixels[22, 22], pixels[27, 27], pixels[35, 35]) == (1, 2, 3, 2)


def test_large_tiles_are_burnt_in_parts_without_seams(tmp_path: Path) -> None:
    width, height = 4500, 2300
    ring = Polygon(((100.3, 50), (4400, 60.7), (4300, 2250), (2200, 2100), (150, 2200)))
    brush = np.zeros((height, width), dtype=bool)
    brush[2000:2100, 2000:2500] = True
    whole = tile(ring, (Mask.of(brush), "boat"), window=(0, 0, width, height))
    export(tmp_path / "d", whole, size=(width, height))
    expected = rasterio.features.rasterize([(shapely.Polygon(ring.points), 1)], (height, width), dtype="uint8")
    expected[brush] = 2
    assert np.array_equal(read(tmp_path / "d"), expected)


@settings(max_examples=15)
@given(st.integers(1, 3), st.lists(st.tuples(st.floats(0, 250), st.floats(0, 150)), min_size=1, max_size=6))
def test_tiles_of_a_grid_give_the_same_mask_as_the_scene_at_once(
    tmp_path_factory: pytest.TempPathFactory, seed: int, places: list[tuple[float, float]]
) -> None:
    folder = tmp_path_factory.mktemp("mask")
    things = [Box(x, y, 7.5 * seed, 11.2, 20 * i) for i, (x, y) in enumerate(places)]
    at_once = tile(*things, window=(0, 0, 300, 200))
    tiles = [
        tile(*(Box(b.x - w[0], b.y - w[1], b.width, b.height, b.rotation) for b in things), window=w)
        for w in grid(300, 200, 128, 32)
    ]
    export(folder / "a", at_once)
    export(folder / "b", *tiles)
    assert (read(folder / "a") != read(folder / "b")).sum() <= 2  # a centre on an outline, to the last bit


def test_scenes_of_one_name_and_plain_images_each_have_a_mask(tmp_path: Path) -> None:
    tiles = [
        tile(Box(1, 1, 5, 5)),
        tile(source="/other/scene.tif"),
        tile(Box(20, 20, 5, 5), window=(100, 100, 100, 80)),
        tile(Box(2, 2, 5, 5), source="/photos/cat.jpg", georef=None),
    ]
    report = export(tmp_path / "d", *tiles)
    assert report.images == 3
    names = sorted(p.name for p in (tmp_path / "d" / "masks").iterdir())
    assert names[0] == "cat.tif"
    assert (read(tmp_path / "d") == 1).sum() == 50
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(tmp_path / "d/masks/cat.tif") as plain:
        assert plain.crs is None


def test_tiles_that_do_not_fit_are_left_out_with_the_reason(tmp_path: Path) -> None:
    def size_of(ref: TileRef) -> tuple[int, int]:
        if "gone" in ref.source:
            raise NotFound("scene 's' is not known; run `groundlook ingest`")
        return 300, 200

    moved = GeoRef(TURNED.crs, (0.4, 0.3, 448_000.5, 0.3, -0.4, 5_428_000.0))
    tiles = [
        tile(Box(1, 1, 5, 5)),
        tile(window=(250, 0, 100, 80)),
        tile(window=(-1, 0, 100, 80)),
        tile(georef=moved),
        tile(georef=None),
        tile(source="/data/gone.tif"),
    ]
    report = export(tmp_path / "d", *tiles, size_of=size_of)
    assert report.skipped == {"tile_out_of_place": 4, "tile_scene_unknown": 1}
    assert "groundlook ingest" in report.problems[-1]
    assert (read(tmp_path / "d") == 1).sum() == 25


def test_what_covers_no_ground_is_counted(tmp_path: Path) -> None:
    report = export(tmp_path / "d", tile(Point(3, 3), WholeTile(), (Box(1, 1, 5, 5), "plane")))
    assert report.skipped == {"point_has_no_area": 1, "class_of_whole_tile": 1, "label_not_in_config": 1}
    assert (read(tmp_path / "d")[:80, :100] == EMPTY).all()


def test_labels_beyond_a_byte_and_unknown_sizes_are_refused(tmp_path: Path) -> None:
    many = [f"c{i}" for i in range(255)]
    with pytest.raises(InvalidInput, match="254"):
        export(tmp_path / "d", tile(), labels=many)
    with pytest.raises(InvalidInput, match="size_of"):
        export(tmp_path / "d", tile(), size_of=None)
    assert list(tmp_path.iterdir()) == []
    export(tmp_path / "d", tile((Box(1, 1, 5, 5), many[253])), labels=many[:254])
    assert (read(tmp_path / "d") == 254).sum() == 25


def test_hostile_labels_stay_metadata(tmp_path: Path) -> None:
    labels = ["</Item>\n<x>", "a=b\x00c", "東京"]
    export(tmp_path / "d", tile((Box(1, 1, 5, 5), labels[2])), labels=labels)
    with rasterio.open(tmp_path / "d" / "masks" / "scene.tif") as dataset:
        tags = dataset.tags(1)
    assert tags["CLASS_1"] == "</Item>\ufffd<x>"
    assert tags["CLASS_2"] == "a=b\ufffdc"
    assert tags["CLASS_3"] == "東京"


def test_a_huge_scene_with_little_reviewed_takes_little(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mask = ClassMask(tmp_path / "m.tif", (50_000, 50_000), TURNED, LABELS)
    for column, row in ((0, 0), (30_000, 20_000), (48_976, 48_976)):
        mask.burn((column, row, 1024, 1024), [(shapely.box(10, 10, 500, 500), 1)])
    mask.finish()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 700  # MiB
    assert (tmp_path / "m.tif").stat().st_size < 20 << 20
    with rasterio.open(tmp_path / "m.tif") as dataset:
        assert dataset.read(1, window=rasterio.windows.Window(30_000, 20_000, 20, 20))[15, 15] == 1
        assert dataset.overviews(1)


def test_it_covers_a_real_scene_pixel_for_pixel(tmp_path: Path, data_dir: Path) -> None:
    path = data_dir / "geotiff_suite" / "solaris" / "sample_geotiff.tif"
    with rasterio.open(path) as scene:
        size, transform, crs = (scene.width, scene.height), scene.transform, scene.crs
    georef = GeoRef(crs.to_string(), tuple(transform)[:6])
    window = (size[0] // 3, size[1] // 3, 256, 256)  # the scene's place is derived from a tile in its middle
    export(tmp_path / "d", tile(Box(100, 50, 30, 20), window=window, georef=georef, source=str(path)), size=size)
    with rasterio.open(tmp_path / "d" / "masks" / "sample_geotiff.tif") as mask:
        assert (mask.width, mask.height, mask.crs) == (*size, crs)
        assert mask.transform.almost_equals(transform, 1e-9)
        x, y = mask.xy(window[1] + 50, window[0] + 100)
        assert next(mask.sample([(x, y)]))[0] == 1
