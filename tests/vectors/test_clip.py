"""Features on tiles: turned, sheared, polar, across the antimeridian; cut in pixels, share by share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Affine, GeoRef, TileRef
from groundlook_adapters.vectors.load.clip import Ground, Piece

SIDE = 256
MOON = (
    'GEOGCRS["Moon",DATUM["Moon",ELLIPSOID["Moon",1737400,0]],PRIMEM["Reference Meridian",0],CS[ellipsoidal,2],'
    'AXIS["latitude",north],AXIS["longitude",east],ANGLEUNIT["degree",0.0174532925199433]]'
)


def tile(crs: str, transform: Affine, column: int = 0, row: int = 0, source: str = "s.tif") -> TileRef:
    return TileRef(source, "e", (column, row, SIDE, SIDE), GeoRef(crs, transform).window(column, row))


def turned(degrees: float, gsd: float, x: float, y: float, shear: float = 0.0) -> Affine:
    t = math.radians(degrees)
    a, d = gsd * math.cos(t), gsd * math.sin(t)
    return (a, d + shear * a, x, d, -a + shear * d, y)


def placed(pixels: Any, georef: GeoRef, crs: str) -> Any:
    """A geometry in pixels as a file in `crs` would hold it."""
    on_map = shapely.transform(pixels, georef.to_map)
    if crs == georef.crs:
        return on_map
    move = Transformer.from_crs(georef.crs, crs, always_xy=True)
    return shapely.transform(on_map, lambda p: np.array(move.transform(p[:, 0].tolist(), p[:, 1].tolist())).T)


def cut(tiles: list[TileRef], shapes: list[Any], crs: str) -> list[Piece]:
    return list(Ground(tiles).cut(np.array(shapes, dtype=object), crs))


PLACES = {
    "utm": ("EPSG:32631", turned(0, 0.5, 500000, 5400000)),
    "turned": ("EPSG:32631", turned(33, 0.5, 500000, 5400000)),
    "sheared": ("EPSG:32631", turned(-71, 0.3, 420000, 5400000, 0.4)),
    "mirrored": ("EPSG:32631", (0.5, 0.0, 500000.0, 0.0, 0.5, 5400000.0)),
    "south pole": ("EPSG:3031", turned(12, 10, -800.0, 900.0)),
    "north pole": ("EPSG:3995", turned(0, 25, 1_000_000, -1_000_000)),
    "antimeridian, utm 60": ("EPSG:32660", turned(0, 10, 828600, 997_500)),
    "antimeridian, utm 1": ("EPSG:32701", turned(5, 10, 181000, 8_008_500)),
    "mercator": ("EPSG:3857", turned(0, 0.6, -8_000_000, 4_700_000)),
    "degrees": ("EPSG:4326", (1e-5, 0.0, 2.0, 0.0, -1e-5, 49.0)),
    "degrees beyond 180": ("EPSG:4326", (0.001, 0.0, 179.9, 0.0, -0.001, -17.0)),
}
corner = st.tuples(st.floats(-80, 330), st.floats(-80, 330))


@given(
    place=st.sampled_from(sorted(PLACES)),
    in_degrees=st.booleans(),
    rings=st.lists(st.tuples(corner, st.floats(3, 120), st.floats(3, 120), st.floats(0, 90)), min_size=1, max_size=6),
)
def test_what_a_tile_shows_is_the_intersection_in_pixels(
    place: str, in_degrees: bool, rings: list[tuple[tuple[float, float], float, float, float]]
) -> None:
    crs, transform = PLACES[place]
    ref = tile(crs, transform)
    assert ref.georef is not None
    pixels = [shapely.affinity.rotate(shapely.box(x, y, x + w, y + h), angle) for (x, y), w, h, angle in rings]
    file_crs = "EPSG:4326" if in_degrees else crs
    both = [
        (p, within_180(placed(p, ref.georef, file_crs)) if in_degrees else placed(p, ref.georef, crs)) for p in pixels
    ]
    pixels, shapes = [p for p, s in both if s is not None], [s for _, s in both if s is not None]
    found = {p.part: p for p in cut([ref], shapes, file_crs)} if shapes else {}
    frame = shapely.box(0, 0, SIDE, SIDE)
    for part, shape in enumerate(pixels):
        truth = shape.intersection(frame)
        if truth.area < 1e-3:
            assert part not in found or found[part].geometry.area < 2e-3
            continue
        piece = found[part]
        assert piece.geometry.symmetric_difference(truth).area < 1e-3 * max(1, truth.length)
        assert piece.share == pytest.approx(truth.area / shape.area, abs=1e-4)
        assert frame.buffer(1e-9).covers(piece.geometry)


def within_180(shape: Any) -> Any:
    """As RFC 7946 has it; None for what it would cut in two at the antimeridian or at a pole."""
    west, _, east, _ = shape.bounds
    if east - west >= 90 or west < 180 < east:
        return None
    return shapely.transform(shape, lambda points: points - np.array([360.0, 0.0])) if west >= 180 else shape


@pytest.mark.parametrize("place", sorted(PLACES))
def test_points_come_to_the_pixel_they_were_made_of(place: str) -> None:
    crs, transform = PLACES[place]
    ref = tile(crs, transform)
    assert ref.georef is not None
    grid = np.random.default_rng(1).uniform(0, SIDE, (500, 2))
    points = [shapely.Point(p) for p in grid]
    for file_crs in (crs, "EPSG:4326"):
        found = cut([ref], [placed(p, ref.georef, file_crs) for p in points], file_crs)
        assert [p.part for p in found] == list(range(500)), "every one of them, once"
        assert np.abs([(p.geometry.x, p.geometry.y) - grid[p.part] for p in found]).max() < 1e-5


def test_a_feature_is_on_every_tile_that_shows_it() -> None:
    """Tiles of 256 px overlapping by half: a house on a seam lies in each of them, in that tile's own pixels."""
    georef = GeoRef("EPSG:32631", turned(20, 0.5, 500000, 5400000))
    tiles = [tile("EPSG:32631", georef.transform, 128 * c, 128 * r) for r in range(4) for c in range(4)]
    house = shapely.box(250, 250, 270, 262)
    found = cut(tiles, [placed(house, georef, "EPSG:32631")], "EPSG:32631")
    for piece in found:
        column, row, _, _ = tiles[piece.tile].window
        back = shapely.transform(piece.geometry, lambda p, at=(column, row): p + np.array(at))
        window = shapely.box(column, row, column + SIDE, row + SIDE)
        assert back.symmetric_difference(house.intersection(window)).area < 1e-6
    assert len(found) == 9
    assert {p.share for p in found if p.share == 1} == {1.0}


def test_a_polygon_that_is_cut_in_two_stays_one_piece_of_two_polygons() -> None:
    ref = tile("EPSG:32631", turned(0, 1, 0, 0))
    assert ref.georef is not None
    horseshoe = shapely.Polygon([(-20, 10), (30, 10), (30, 20), (-10, 20), (-10, 40), (30, 40), (30, 50), (-20, 50)])
    (piece,) = cut([ref], [placed(horseshoe, ref.georef, "EPSG:32631")], "EPSG:32631")
    assert piece.geometry.geom_type == "MultiPolygon"
    assert piece.geometry.area == pytest.approx(600)


def test_what_only_touches_the_tile_is_not_on_it() -> None:
    ref = tile("EPSG:32631", turned(0, 1, 0, 0))
    assert ref.georef is not None
    touching = [shapely.box(SIDE, 0, SIDE + 9, 9), shapely.box(-9, -9, 0, 0), shapely.Point(SIDE + 1, 3)]
    assert cut([ref], [placed(t, ref.georef, "EPSG:32631") for t in touching], "EPSG:32631") == []


def test_a_tile_is_only_asked_for_what_is_near_it() -> None:
    """A file of the whole world: what is read of it is bounded by the tiles, across the antimeridian too."""
    paris = tile("EPSG:32631", turned(0, 0.5, 450000, 5400000))
    left, bottom, right, top = Ground([paris]).bounds("EPSG:4326") or (0, 0, 0, 0)
    assert right - left < 0.003
    assert top - bottom < 0.003
    fiji = tile("EPSG:32760", turned(0, 100, 810000, 8_100_000))
    bounds = Ground([fiji]).bounds("EPSG:4326")
    assert bounds is not None
    assert (bounds[0], bounds[2]) == (-180.0, 180.0)
    assert bounds[3] - bounds[1] < 0.5
    pole = tile("EPSG:3031", turned(0, 100, -12800, 12800))
    bounds = Ground([pole]).bounds("EPSG:4326")
    assert bounds is not None
    assert bounds[0] <= -180
    assert bounds[1] == pytest.approx(-90)
    assert bounds[2] >= 180


def test_scenes_in_many_systems_are_served_by_one_file() -> None:
    scenes = [tile(f"EPSG:326{z}", turned(z, 0.5, 500000, 5400000), source=f"{z}.tif") for z in range(10, 30)]
    shapes = []
    for ref in scenes:
        assert ref.georef is not None
        shapes.append(placed(shapely.box(50, 60, 70, 80), ref.georef, "EPSG:4326"))
    found = cut(scenes, shapes, "EPSG:4326")
    assert sorted((p.tile, p.part) for p in found) == [(i, i) for i in range(20)]
    assert all(p.geometry.symmetric_difference(shapely.box(50, 60, 70, 80)).area < 1e-3 for p in found)


def test_another_body_is_another_ground() -> None:
    ground = Ground([tile(MOON, (0.01, 0, 10.0, 0, -0.01, 5.0))])
    with pytest.raises(InvalidInput, match="no tile of the project can be reached from CRS 'EPSG:4326'"):
        ground.bounds("EPSG:4326")
    both = Ground([tile(MOON, (0.01, 0, 10.0, 0, -0.01, 5.0)), tile("EPSG:32631", turned(0, 1, 500000, 5400000))])
    assert both.unreached("EPSG:4326") == [MOON]
    with pytest.raises(InvalidInput, match="none is georeferenced"):
        Ground([TileRef("photo.jpg", "e", (0, 0, 9, 9))]).bounds("EPSG:4326")
