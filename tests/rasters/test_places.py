"""One place, one fold: on every date, at every overlap, in every CRS."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import rasterio.warp
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.tiling import Split, grid
from groundlook_adapters.rasters.tiling.places import Places, fold, outlines, period

Scene = tuple[str, GeoRef, int, int]
MOON = rasterio.crs.CRS.from_proj4("+proj=eqc +lat_ts=0 +lon_0=0 +a=1737400 +b=1737400 +units=m").to_wkt()


def placed(name: str, crs: str, lon: float, lat: float, gsd: float, side: int, turn: float = 0.0) -> Scene:
    """A scene of side² px whose first corner lies at (lon, lat)."""
    x, y = rasterio.warp.transform("EPSG:4326", crs, [lon], [lat])
    a, b = float(gsd * np.cos(turn)), float(gsd * np.sin(turn))
    return name, GeoRef(crs, (a, b, x[0], b, -a, y[0])), side, side


def split(
    scenes: Sequence[Scene], size: int, overlap: int, blocks: dict[str, float], share: float = 0.4
) -> list[tuple[TileRef, Split]]:
    """Every tile of every scene with its fold, scene by scene as an ingest does it."""
    places = Places()
    found = []
    for name, georef, width, height in scenes:
        window = (0, 0, width, height)
        spaces = places.spaces(georef, window)
        places.add(georef, window, spaces[0])
        for w in grid(width, height, size, overlap):
            tile = TileRef(name, "e", w, georef.window(w[0], w[1]))
            side = size * max(georef.gsd())
            found.append((tile, fold(tile, spaces, lambda s, side=side: blocks.setdefault(s, 4 * side), share, "s")))
    return found


def leaked(found: Sequence[tuple[TileRef, Split]], crs: str) -> float:
    """The largest area, in pixels of the held-out tile, that a training tile has in common with a held-out one, both
    drawn in `crs` with 64 points per side."""
    ground: dict[Split, list[tuple[TileRef, shapely.Polygon]]] = {"train": [], "val": [], "margin": []}
    for tile, which in found:
        ground[which].append((tile, outline(tile, crs)))
    tree = shapely.STRtree([polygon for _, polygon in ground["train"]])
    worst = 0.0
    for tile, held_out in ground["val"]:
        pixel = held_out.area / (tile.size[0] * tile.size[1])
        for i in tree.query(held_out, predicate="intersects"):
            worst = max(worst, shapely.intersection(held_out, ground["train"][i][1]).area / pixel)
    return worst


def outline(tile: TileRef, crs: str) -> shapely.Polygon:
    assert tile.georef is not None
    width, height = tile.size
    t = np.arange(64)[:, None] / 64
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height], [0, 0]], dtype=float)
    edges = np.concatenate([corners[i] + t * (corners[i + 1] - corners[i]) for i in range(4)])
    points = tile.georef.to_map(edges)
    x, y = rasterio.warp.transform(tile.georef.crs, crs, points[:, 0], points[:, 1])
    return shapely.Polygon(np.stack([x, y], axis=1))


def count(found: Sequence[tuple[TileRef, Split]], which: Split) -> int:
    return sum(w == which for _, w in found)


def test_two_dates_of_one_place_in_three_systems() -> None:
    scenes = [
        placed("2019", "EPSG:32631", 3.0, 45.0, 0.5, 1600),
        placed("2020", "EPSG:32631", 3.001, 45.0005, 0.5, 1600),
        placed("web", "EPSG:3857", 2.999, 45.001, 0.7, 1600),
        placed("degrees", "EPSG:4326", 3.0005, 44.9995, 6e-6, 1600),
        placed("next zone", "EPSG:32632", 3.002, 44.9995, 0.5, 1600, 0.2),
    ]
    for order in (scenes, scenes[::-1], [scenes[2], scenes[0], scenes[4], scenes[1], scenes[3]]):
        found = split(order, 128, 32, {})
        assert count(found, "val") > 20
        assert count(found, "train") > 100
        assert leaked(found, "EPSG:32631") < 1e-6


@pytest.mark.parametrize("crs", ["EPSG:3995", "EPSG:32633", "EPSG:3857"])
@pytest.mark.parametrize("space", ["EPSG:4326", "EPSG:3857", "EPSG:32633", "EPSG:3995"])
@pytest.mark.parametrize("lon", [15.0, 40.0, 179.0])
def test_edges_that_bow_are_followed(crs: str, space: str, lon: float) -> None:
    """Tiles of 200 km: in another system their edges are arcs that reach further out than any corner."""
    _, georef, width, height = placed("a", crs, lon if crs != "EPSG:32633" else 15.0, 80.0, 1000, 200, 0.3)
    tile = TileRef("a", "e", (0, 0, width, height), georef)
    envelopes = [shapely.box(*points.min(axis=0), *points.max(axis=0)) for points in outlines(tile, space)]
    assert envelopes
    x, y = shapely.get_coordinates(outline(tile, space)).T
    turn = period(space)
    if turn is not None:
        x = (x + turn / 2) % turn - turn / 2
    assert shapely.intersects_xy(shapely.union_all(envelopes).buffer(1e-9 * np.abs(x).max()), x, y).all()
    assert (
        sum(e.area for e in envelopes) < 30 * shapely.Polygon(np.stack([np.unwrap(x, period=turn or 1e9), y], 1)).area
    )


def test_the_same_without_split_spaces_leaks() -> None:
    """What the spaces are for: each scene in blocks of its own CRS."""
    found = []
    for crs, gsd in (("EPSG:32631", 0.5), ("EPSG:3857", 0.7)):
        found += split([placed(crs, crs, 3.0, 45.0, gsd, 1600)], 128, 32, {})
    assert leaked(found, "EPSG:32631") > 1000


lonlat = st.tuples(st.floats(-180, 180), st.floats(-78, 78))


@settings(max_examples=60)
@given(lonlat, st.data())
def test_no_pixel_is_both_trained_on_and_held_out(where: tuple[float, float], data: st.DataObject) -> None:
    lon, lat = where
    zone = int((lon + 180) % 360 // 6) + 1
    hemisphere = 32600 if lat >= 0 else 32700
    near = [f"EPSG:{hemisphere + z}" for z in (zone, zone % 60 + 1)]
    metres = st.floats(-400, 400)
    scenes = []
    for i in range(data.draw(st.integers(2, 5))):
        crs = data.draw(st.sampled_from([*near, "EPSG:3857", "EPSG:4326", "EPSG:3832"]))
        degree = 111_000 * np.cos(np.radians(lat))
        gsd = {"EPSG:4326": 1 / degree, "EPSG:3857": 1 / np.cos(np.radians(lat))}.get(crs, 1.0)
        at = lon + data.draw(metres) / degree, lat + data.draw(metres) / 111_000
        at = ((at[0] + 180) % 360 - 180, at[1])
        scenes.append(placed(str(i), crs, *at, gsd, data.draw(st.integers(150, 700)), data.draw(st.floats(-3, 3))))
    found = split(scenes, 64, data.draw(st.integers(0, 24)), {}, data.draw(st.floats(0.1, 0.9)))
    # block edges have a tolerance of a millionth of a block, along a tile's side of 64 px
    assert leaked(found, near[0]) < 0.1


@pytest.mark.parametrize(
    "systems", list(itertools.permutations(["EPSG:32660", "EPSG:32601", "EPSG:3857", "EPSG:4326"]))
)
def test_across_the_antimeridian(systems: Sequence[str]) -> None:
    gsd = {"EPSG:4326": 9e-6, "EPSG:3857": 1.2}
    scenes = [placed(crs, crs, 179.999, 30.0, gsd.get(crs, 1.0), 500) for crs in systems]
    west = placed("west", "EPSG:4326", -179.9995, 30.0, 9e-6, 500)  # the same ground as what lies beyond 180 above
    beyond = ("beyond", GeoRef("EPSG:4326", (9e-6, 0, 180.0005, 0, -9e-6, 30.0)), 500, 500)
    for scene in (west, beyond):
        found = split([*scenes, scene], 64, 16, {}, 0.5)
        assert leaked(found, "EPSG:32660") < 1e-3
        assert count(found, "val") > 0
        assert count(found, "train") > 0


def test_degrees_on_both_sides_of_180_share_blocks() -> None:
    one = ("east", GeoRef("EPSG:4326", (1e-4, 0, 179.99, 0, -1e-4, 10)), 300, 300)
    other = ("west", GeoRef("EPSG:4326", (1e-4, 0, -180.01, 0, -1e-4, 10)), 300, 300)
    folds = [[which for _, which in split([scene], 50, 0, {})] for scene in (one, other)]
    assert folds[0] == folds[1]
    assert set(folds[0]) > {"train"}


def test_the_ground_that_came_first_decides_its_own_first() -> None:
    places = Places()
    utm, web = placed("a", "EPSG:32631", 3, 45, 1, 500), placed("b", "EPSG:3857", 3, 45, 1, 500)
    far = placed("c", "EPSG:3857", 4, 45, 1, 500)
    whole = (0, 0, 500, 500)
    assert places.spaces(utm[1], whole) == ("EPSG:32631",)
    places.add(utm[1], whole, "EPSG:32631")
    assert places.spaces(web[1], whole) == ("EPSG:32631",)
    assert places.spaces(far[1], whole) == ("EPSG:3857",)
    places.add(far[1], whole, "EPSG:3857")
    wide = placed("d", "EPSG:3857", 2.99, 45.01, 1, 200_000)  # over both
    assert places.spaces(wide[1], (0, 0, 200_000, 4000)) == ("EPSG:3857", "EPSG:32631")


def test_another_planet_keeps_to_itself() -> None:
    moon = ("moon", GeoRef(MOON, (1, 0, 0, 0, -1, 0)), 400, 400)
    earth = placed("earth", "EPSG:32631", 3, 0, 1, 400)
    found = split([earth, moon], 50, 10, {})
    alone = split([moon], 50, 10, {})
    assert found[-len(alone) :] == alone
    assert {which for _, which in alone} >= {"train", "margin"}


def test_images_without_georeference_are_split_by_image() -> None:
    folds = [fold(TileRef(f"/{i}.png", "e", (0, 0, 9, 9)), (), lambda s: 1.0, 0.5, "s") for i in range(200)]
    assert 70 < folds.count("val") < 130


def test_a_tile_without_a_place_in_the_deciding_space_is_used_by_neither_side() -> None:
    """Near the equator, 90° from the zone, transverse Mercator has no end."""
    far = placed("far", "EPSG:4326", 93.0, 0.0, 1e-5, 50)
    tile = TileRef("far", "e", (0, 0, 50, 50), far[1])
    assert fold(tile, ["EPSG:32631"], lambda s: 1e9, 0.5, "s") == "margin"


def test_a_pole_is_all_longitudes() -> None:
    pole = TileRef("p", "e", (0, 0, 100, 100), GeoRef("EPSG:3995", (100, 0, -5000, 0, -100, 5000)))
    assert fold(pole, ["EPSG:4326"], lambda s: 10.0, 0.5, "s") == "margin"
    assert fold(pole, ["EPSG:3995"], lambda s: 1e5, 0.5, "s") == "margin"  # four blocks meet there
    aside = TileRef("p", "e", (0, 0, 100, 100), GeoRef("EPSG:3995", (100, 0, 5000, 0, -100, -5000)))
    assert fold(aside, ["EPSG:3995"], lambda s: 1e5, 0.5, "s") in ("train", "val")


@pytest.mark.parametrize(
    ("crs", "expected"),
    [
        ("EPSG:4326", 360),
        ("EPSG:4807", 400),  # grads
        ("EPSG:3857", 40075016.68557849),
        ("EPSG:3832", 40075016.68557849),
        ("EPSG:32631", None),
        ("EPSG:3031", None),
        ("EPSG:2154", None),
        (MOON, None),
    ],
)
def test_which_maps_go_round(crs: str, expected: float | None) -> None:
    assert period(crs) == (None if expected is None else pytest.approx(expected, rel=1e-9))
