"""Every control gets the shape that it takes, out of every shape that a model gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.plan import Route
from groundlook.core.types import Control, ModelVersion, Prediction, Region
from groundlook_adapters.labelstudio.config import NUMBERS, SERVED, parse_config
from groundlook_adapters.labelstudio.controls import MIN_IOU, MIN_PX, fit_region, target
from groundlook_adapters.labelstudio.holes import without_holes
from groundlook_adapters.labelstudio.values import decode_value, encode_value
from groundlook_adapters.labelstudio.wire import decode_regions, encode_prediction
from groundlook_adapters.vectors.geometry.scan import pixels_inside
from groundlook_adapters.vectors.geometry.shapes import to_geometry
from groundlook_adapters.vectors.geometry.trace import outlines

SIZE = (160, 120)
ROUTE = Route("c")
SHAPES: dict[str, type[Shape]] = {
    "RectangleLabels": Box,
    "PolygonLabels": Polygon,
    "BrushLabels": Mask,
    "EllipseLabels": Ellipse,
    "KeyPointLabels": Point,
    "Choices": WholeTile,
    "Number": WholeTile,
    "Rating": WholeTile,
}


def grid() -> tuple[Any, Any]:
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    return rows, columns


def house() -> Mask:
    """A turned house with a wing."""
    rows, columns = grid()
    along, across = (columns - 80) * 0.9 + (rows - 60) * 0.436, (rows - 60) * 0.9 - (columns - 80) * 0.436
    return Mask.of((abs(along) < 40) & (abs(across) < 15) | (abs(along - 25) < 12) & (across > 0) & (across < 35))


def ring() -> Mask:
    rows, columns = grid()
    far = (rows - 60) ** 2 + (columns - 80) ** 2
    return Mask.of((far < 50**2) & (far > 20**2))


def islands() -> Mask:
    pixels = np.zeros((SIZE[1], SIZE[0]), dtype=bool)
    pixels[10:30, 10:40] = pixels[60:110, 90:150] = True
    pixels[50, 50] = pixels[2, 2:6] = True  # specks of 1 and 4 px
    return Mask.of(pixels)


NATURAL: dict[str, Shape] = {
    "box": Box(20, 30, 60, 40),
    "turned box": Box(60, 20, 60, 30, 30),
    "polygon": Polygon(((20, 20), (120, 30), (100, 100), (60, 50), (30, 90))),
    "ellipse": Ellipse(80, 60, 50, 20, 25),
    "house": house(),
    "ring": ring(),
    "point": Point(33.5, 44.25),
    "class": WholeTile(),
}
AREAS = [n for n, s in NATURAL.items() if not isinstance(s, Point | WholeTile)]


def fitted(shape: Shape, kind: str, tolerance: float = 1.0, size: tuple[int, int] = SIZE, **route: Any) -> list[Region]:
    control = Control("c", kind, ("House",))
    region = Region(shape, "House", 0.75, "u", "prediction", "mask .75", frame=size)
    return fit_region(region, control, Route("c", **route), tolerance, size)


def area_of(*shapes: Shape) -> Any:
    return shapely.union_all([to_geometry(s, SIZE)[0] for s in shapes])


def iou(a: Any, b: Any) -> float:
    return float(a.intersection(b).area / a.union(b).area)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", NATURAL)
def test_every_control_gets_its_shape_of_every_shape(name: str, kind: str) -> None:
    shape = NATURAL[name]
    found = fitted(shape, kind)
    whole = SHAPES[kind] is WholeTile
    expected = isinstance(shape, WholeTile) == whole and (kind == "KeyPointLabels" or not isinstance(shape, Point))
    assert bool(found) is expected
    for n, region in enumerate(found):
        assert type(region.shape) is SHAPES[kind]
        assert (region.label, region.score, region.origin, region.control) == ("House", 0.75, "prediction", "c")
        assert (region.frame, region.uid) == (SIZE, f"u-{n}" if n else "u")
        assert region.note.startswith("mask .75")
    if expected and name in AREAS:
        got, was = area_of(*(r.shape for r in found)), area_of(shape)
        if kind == "KeyPointLabels":
            assert was.intersects(got), "the point is on the thing"
        else:
            assert iou(got, was) > {"PolygonLabels": 0.66 if name == "ring" else 0.97, "BrushLabels": 0.97}.get(
                kind, 0.4
            )


@pytest.mark.parametrize("kind", [*SERVED, *NUMBERS])
def test_what_is_fitted_is_what_goes_out_and_comes_back(kind: str) -> None:
    """Table: every control of a real label config, every shape; what we send is taken, and read back equal."""
    label = "Choice" if kind == "Choices" else "Label"
    inner = "" if kind in NUMBERS else f'<{label} value="House"/>'
    xml = f'<View><Image name="image" value="$image"/><{kind} name="c" toName="image">{inner}</{kind}></View>'
    config = parse_config(xml)
    (control,) = config.controls
    from label_studio_sdk.label_interface import LabelInterface

    for name, shape in NATURAL.items():
        text = "3" if kind in NUMBERS else "House"
        sent = fit_region(Region(shape, text, 0.5, name), control, ROUTE, 0.5, SIZE)
        body = encode_prediction(Prediction(ModelVersion("m", "1"), tuple(sent), size=SIZE), config, 0.5, "v")
        assert len(body["result"]) == len(sent)
        assert LabelInterface(xml).validate_prediction(body, return_errors=True) == []
        for region, back in zip(sent, decode_regions(body["result"], config, SIZE), strict=True):
            assert (back.label, back.score, back.uid, type(back.shape)) == (text, 0.5, region.uid, SHAPES[kind])
            assert np.allclose(back.shape.corners(), region.shape.corners(), rtol=0, atol=1e-9)
            assert not isinstance(region.shape, Mask) or back.shape == region.shape


def test_the_parts_of_a_mask_are_regions_and_specks_are_none() -> None:
    found = fitted(islands(), "PolygonLabels")
    assert [area_of(r.shape).area for r in found] == [60 * 50, 30 * 20]
    (box,) = fitted(islands(), "RectangleLabels")
    assert box.shape == Box(10, 10, 140, 100)
    (point,) = fitted(islands(), "KeyPointLabels")
    assert point.shape == Point(120, 85)
    speck = Mask.of(np.eye(3))
    assert len(fitted(speck, "PolygonLabels", size=(3, 3))) == 1, "where there is nothing larger, a speck is it"
    assert MIN_PX == 4


@pytest.mark.parametrize("kind", SHAPES)
def test_nothing_gives_nothing(kind: str) -> None:
    empty = Mask(SIZE[0], SIZE[1], np.zeros((0, 2), dtype=np.int64))
    nothing: list[Shape] = [empty, Box(5, 5, 0, 9), Ellipse(5, 5, 0, 3), Polygon(((1, 1), (5, 5), (9, 9)))]
    for shape in nothing:
        assert fitted(shape, kind) == []


def test_boxes_are_upright_or_turned() -> None:
    (upright,) = fitted(house(), "RectangleLabels")
    x0, y0, x1, y1 = outlines(house()).bounds
    assert upright.shape == Box(x0, y0, x1 - x0, y1 - y0)
    (turned,) = fitted(house(), "RectangleLabels", oriented=True)
    assert isinstance(turned.shape, Box)
    assert turned.shape.rotation == pytest.approx(25.8, abs=1.5)
    assert area_of(turned.shape).area < 0.8 * area_of(upright.shape).area
    for name in ("turned box", "ellipse"):
        (around,) = fitted(NATURAL[name], "RectangleLabels", oriented=True)
        assert isinstance(around.shape, Box)
        assert around.shape.rotation == NATURAL[name].rotation  # type: ignore[union-attr]
        assert area_of(around.shape).buffer(1e-6).contains(area_of(NATURAL[name]))
    (clipped,) = fitted(Polygon(((-20, -20), (50, 10), (10, 130))), "RectangleLabels")
    assert clipped.shape == Box(0, 0, 50, 120)


def test_round_things() -> None:
    rows, columns = grid()
    disc = Mask.of((rows - 60) ** 2 + (columns - 80) ** 2 < 40**2)
    (found,) = fitted(disc, "EllipseLabels")
    assert isinstance(found.shape, Ellipse)
    assert np.allclose([found.shape.x, found.shape.y, found.shape.rx, found.shape.ry], [80.5, 60.5, 40, 40], atol=0.6)
    (inside,) = fitted(Box(20, 30, 60, 40), "EllipseLabels")
    assert inside.shape == Ellipse(50, 50, 30, 20)


def test_points_lie_on_the_thing() -> None:
    (point,) = fitted(ring(), "KeyPointLabels")
    assert outlines(ring()).contains(shapely.Point(*point.shape.corners()[0])), "a ring's centre is not on it"
    (point,) = fitted(Box(20, 30, 60, 40), "KeyPointLabels")
    assert point.shape == Point(50, 50)
    (point,) = fitted(Box(-100, 30, 120, 40), "KeyPointLabels")
    assert point.shape == Point(10, 50), "of what is in the picture"


def test_holes_are_reported_or_split() -> None:
    (outer,) = fitted(ring(), "PolygonLabels", tolerance=0)
    hole = int(shapely.Polygon(outlines(ring()).interiors[0]).area)
    assert outer.note == f"mask .75; 1 hole of {hole} px² left out: polygons can't have holes"
    assert area_of(outer.shape).area == ring().area + hole
    pieces = fitted(ring(), "PolygonLabels", tolerance=0, holes="split")
    assert [p.note for p in pieces] == ["mask .75"] * 2
    assert pixels_inside(area_of(*(p.shape for p in pieces)), SIZE) == ring()
    pixels = ring().pixels()
    pixels[60, 20:40] = pixels[58:63, 110:125] = False
    (two,) = fitted(Mask.of(pixels), "PolygonLabels", tolerance=0)
    assert "holes of" in two.note
    assert "together left out" in two.note


def test_a_polygon_that_is_in_order_stays_as_it_is() -> None:
    shape = NATURAL["polygon"]
    (same,) = fitted(shape, "PolygonLabels", tolerance=0)
    assert same.shape is shape
    bow_tie = Polygon(((10, 10), (60, 60), (60, 10), (10, 60)))
    assert len(fitted(bow_tie, "PolygonLabels", tolerance=0)) == 2, "one that crosses itself is two"
    (cut,) = fitted(Polygon(((100, 50), (300, 50), (300, 90), (100, 90))), "PolygonLabels")
    assert area_of(cut.shape).bounds == (100, 50, 160, 90)


# targets

CONFIG = [Control(tag.lower(), tag, ("House",)) for tag in SERVED]


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ("box", ("RectangleLabels", "PolygonLabels", "EllipseLabels", "KeyPointLabels", "BrushLabels")),
        ("polygon", ("PolygonLabels", "BrushLabels", "RectangleLabels", "EllipseLabels", "KeyPointLabels")),
        ("ellipse", ("EllipseLabels", "PolygonLabels", "BrushLabels", "RectangleLabels", "KeyPointLabels")),
        ("point", ("KeyPointLabels",)),
        ("class", ("Choices",)),
    ],
)
def test_where_a_shape_goes(shape: str, order: tuple[str, ...]) -> None:
    controls = list(CONFIG)
    for tag in order:
        found = target(controls, Region(NATURAL[shape], "House"))
        assert found is not None
        assert found.type == tag
        controls.remove(found)
    assert target(controls, Region(NATURAL[shape], "House")) is None


def test_a_mask_goes_to_the_first_that_outlines_it() -> None:
    paint, trace = Control("p", "BrushLabels", ("House",)), Control("t", "PolygonLabels", ("House", "Tree"))
    mask = Region(house(), "House")
    assert target([trace, paint], mask) is trace
    assert target([paint, trace], mask) is paint
    assert target([paint, trace], Region(house(), "Tree")) is trace
    assert target([paint, trace], Region(house(), "Boat")) is None
    assert target([paint, trace], Region(house(), "House", control="t")) is trace
    assert target([paint, trace], Region(house(), "House", control="gone")) is None


# properties


@st.composite
def blobs(draw: st.DrawFn) -> Mask:
    """Discs and boxes, added and taken away: parts, holes, islands in holes."""
    width, height = draw(st.integers(16, 80)), draw(st.integers(16, 80))
    rows, columns = np.mgrid[:height, :width]
    pixels = np.zeros((height, width), dtype=bool)
    for _ in range(draw(st.integers(1, 6))):
        y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        r, solid = draw(st.integers(3, 30)), draw(st.booleans()) or not pixels.any()
        square = draw(st.booleans())
        far = np.maximum(abs(rows - y), abs(columns - x)) if square else np.hypot(rows - y, columns - x)
        pixels[far <= r] = solid
    return Mask.of(pixels)


@given(blobs())
@settings(max_examples=50)
def test_a_mask_is_painted_as_it_is(mask: Mask) -> None:
    """mask → brush → mask: equal, to the pixel."""
    assume(mask.area)
    size = (mask.width, mask.height)
    (region,) = fitted(mask, "BrushLabels", size=size)
    assert decode_value("brush", encode_value(region.shape, size), size) == mask


@given(blobs(), st.sampled_from([0.0, 0.5, 1.0, 3.0]))
@settings(max_examples=60)
def test_a_mask_is_outlined_as_it_is(mask: Mask, tolerance: float) -> None:
    """mask → polygons → mask: IoU of .98 for every part of it, whatever the tolerance; with holes split, of it all."""
    size = (mask.width, mask.height)
    parts = [p for p in shapely.get_parts(outlines(mask)) if p.area > MIN_PX]
    assume(parts)
    found = fitted(mask, "PolygonLabels", tolerance, size, holes="split")
    rings = [shapely.Polygon(r.shape.corners()) for r in found]
    assert all(r.is_valid for r in rings)
    got, kept = shapely.union_all(rings), shapely.union_all(parts)
    assert iou(got, kept) >= MIN_IOU - 0.005  # parts that touch by a corner may overlap a little
    if tolerance == 0:
        assert pixels_inside(got, size) == pixels_inside(kept, size)
    outer = fitted(mask, "PolygonLabels", tolerance, size)
    assert len(outer) == len(parts)
    filled = shapely.union_all([shapely.Polygon(p.exterior) for p in parts])
    assert iou(shapely.union_all([shapely.Polygon(r.shape.corners()) for r in outer]), filled) >= MIN_IOU - 0.005
    assert sum("left out" in r.note for r in outer) == sum(bool(p.interiors) for p in parts)
    if tolerance:
        corners = sum(len(r.shape.corners()) for r in outer)
        assert corners <= sum(len(p.exterior.coords) for p in parts)


@given(blobs())
@settings(max_examples=60)
def test_a_polygon_is_cut_until_it_has_no_holes(mask: Mask) -> None:
    assume(mask.area)
    for part in shapely.get_parts(outlines(mask)):
        pieces = without_holes(part)
        assert all(p.geom_type == "Polygon" and p.is_valid and not p.interiors and p.area > 0 for p in pieces)
        assert sum(p.area for p in pieces) == pytest.approx(part.area, abs=1e-9), "they don't overlap"
        assert shapely.union_all(pieces).symmetric_difference(part).area < 1e-9, "they are all of it"
        assert len(pieces) >= 1 + bool(part.interiors)


@given(blobs(), st.sampled_from(["RectangleLabels", "EllipseLabels", "KeyPointLabels"]), st.booleans())
@settings(max_examples=60)
def test_a_mask_has_one_box_one_ellipse_and_one_point(mask: Mask, kind: str, oriented: bool) -> None:
    assume(mask.area)
    size = (mask.width, mask.height)
    (found,) = fitted(mask, kind, size=size, oriented=oriented)
    kept = shapely.union_all([p for p in shapely.get_parts(outlines(mask)) if p.area > MIN_PX] or [outlines(mask)])
    shape = found.shape
    if isinstance(shape, Point):
        assert kept.buffer(1e-6).contains(shapely.Point(shape.x, shape.y))
    elif isinstance(shape, Box):
        assert shapely.Polygon(shape.corners()).buffer(1e-6).contains(kept)
    else:
        assert np.isfinite(shape.corners()).all()


def test_many_holes_are_opened_by_few_cuts() -> None:
    pixels = np.ones((400, 400), dtype=bool)
    pixels[5::10, 5::10] = False  # 1,600 holes
    pieces = without_holes(outlines(Mask.of(pixels)))
    assert sum(p.area for p in pieces) == pytest.approx(pixels.sum())
    assert len(pieces) == 41, "a cut opens a whole column of them"
