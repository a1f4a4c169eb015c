"""Seam merge: every thing of a scene once, whatever the tiles cut; neighbours that touch stay neighbours."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import WindowPx
from groundlook.core.tiling import grid
from groundlook_adapters.vectors.seams.merge import Merged, Piece, dissolve, merge_instances, merge_stream
from tests.vectors.seen import precision_recall, row_houses, sparse, views

LEFT: WindowPx = (0, 0, 100, 100)
RIGHT: WindowPx = (80, 0, 100, 100)
BELOW: WindowPx = (0, 80, 100, 100)


def piece(geometry: Any, window: WindowPx, key: Any = None, label: str = "house") -> Piece:
    return Piece(geometry, label, window, key)


def keys(merged: Sequence[Merged]) -> list[list[Any]]:
    return sorted(sorted(p.key for p in m.members) for m in merged)


def geometries(merged: Sequence[Merged]) -> list[Any]:
    return [m.geometry for m in merged]


# against known scenes


def unmerged(pieces: Sequence[Piece]) -> list[Any]:
    return [p.geometry for p in pieces]


def suppressed(pieces: Sequence[Piece]) -> list[Any]:
    """Greedy non-maximum suppression, the larger first, IoU 0.5."""
    shapes = np.array([p.geometry for p in pieces], dtype=object)
    a, b = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    both = shapely.area(shapely.intersection(shapes[a], shapes[b]))
    clash = both / (shapely.area(shapes[a]) + shapely.area(shapes[b]) - both) >= 0.5
    rivals: dict[int, list[int]] = {}
    for i, j in zip(a[clash].tolist(), b[clash].tolist(), strict=True):
        rivals.setdefault(i, []).append(j)
    dropped: set[int] = set()
    for i in np.argsort(-shapely.area(shapes)).tolist():
        if i not in dropped:
            dropped |= {j for j in rivals[i] if j != i}
    return [g for i, g in enumerate(shapes) if i not in dropped]


def dissolved(pieces: Sequence[Piece]) -> list[Any]:
    return list(shapely.get_parts(shapely.union_all([p.geometry for p in pieces])))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("scene", [sparse, row_houses])
def test_precision_and_recall(scene: Callable[[np.random.Generator], list[Any]], seed: int) -> None:
    """1,500 things under 81 tiles, each drawn anew by every tile that sees it."""
    rng = np.random.default_rng(seed)
    truth = scene(rng)
    assert len(truth) == 1500
    pieces = views(truth, rng)
    merged = merge_instances(pieces)
    precision, recall = precision_recall(geometries(merged), truth)
    assert min(precision, recall) >= 0.99
    assert min(precision_recall(geometries(merged), truth, iou=0.8)) >= 0.99
    assert all(len({p.key for p in m.members}) == 1 for m in merged)  # no two houses became one
    assert precision_recall(unmerged(pieces), truth)[0] < 0.85
    assert precision_recall(suppressed(pieces), truth)[0] < precision
    if scene is row_houses:
        assert precision_recall(dissolved(pieces), truth)[1] < 0.5


@pytest.mark.parametrize("seed", [0, 3, 10])
def test_unsteady_and_forgetful_annotators_chain_no_neighbours(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pieces = views(row_houses(rng), rng, jitter=1.5, missed=0.3)
    assert all(len({p.key for p in m.members}) == 1 for m in merge_instances(pieces))


# by hand


def test_a_cut_thing_is_united() -> None:
    (merged,) = merge_instances(
        [piece(shapely.box(50, 10, 100, 20), LEFT, "a"), piece(shapely.box(80, 10, 130, 21), RIGHT, "b")]
    )
    assert (merged.rule, merged.views) == ("union", 2)
    assert merged.geometry.equals(shapely.union_all([shapely.box(50, 10, 100, 20), shapely.box(80, 10, 130, 21)]))
    assert merged.iou_min == pytest.approx(200 / 220)
    assert [p.key for p in merged.members] == ["a", "b"]


def test_the_most_central_of_the_complete_views_is_kept() -> None:
    cut = piece(shapely.box(85, 10, 100, 20), LEFT, "cut")
    whole = piece(shapely.box(85, 10, 110, 20), RIGHT, "whole")
    (merged,) = merge_instances([cut, whole])
    assert (merged.rule, merged.geometry) == ("central", whole.geometry)
    near_edge = piece(shapely.box(82, 50, 90, 58), RIGHT, "edge")
    (merged,) = merge_instances([near_edge, piece(shapely.box(82, 50, 90.5, 58), LEFT, "central"), cut][:2])
    assert merged.rule == "central"
    assert merged.geometry.bounds[2] == 90.5


def test_the_outer_edge_of_the_scene_cuts_nothing() -> None:
    """A house at the top edge of all windows is complete there; the same house at an inner edge is not."""
    house, larger = shapely.box(82, 0, 98, 10), shapely.box(82, 0, 98, 11)
    (merged,) = merge_instances([piece(house, LEFT), piece(larger, RIGHT)])
    assert merged.rule == "central"
    above = [
        piece(shapely.box(0, -50, 5, -40), (0, -80, 100, 100)),
        piece(shapely.box(160, -50, 165, -40), (80, -80, 100, 100)),
    ]
    (merged,) = (m for m in merge_instances([piece(house, LEFT), piece(larger, RIGHT), *above]) if m.views == 2)
    assert merged.rule == "union"


def test_what_overlaps_outside_the_shared_strip_only_is_not_the_same() -> None:
    """Two long houses, one above the other, that meet in a corner of the strip."""
    pieces = [piece(shapely.box(10, 10, 100, 20), LEFT, 1), piece(shapely.box(80, 17, 170, 40), RIGHT, 2)]
    assert keys(merge_instances(pieces)) == [[1], [2]]


def test_labels_and_windows_keep_pieces_apart() -> None:
    box = shapely.box(82, 10, 98, 20)
    assert len(merge_instances([piece(box, LEFT), piece(box, RIGHT, label="car")])) == 2
    assert len(merge_instances([piece(box, LEFT), piece(box, LEFT)])) == 2
    assert len(merge_instances([piece(box, LEFT), piece(box, RIGHT)])) == 1
    assert len(merge_instances([piece(box, LEFT), piece(box, (300, 0, 100, 100))])) == 2


def test_two_annotators_of_one_tile_are_never_merged_with_each_other() -> None:
    cut, whole = shapely.box(85, 10, 100, 20), shapely.box(85, 10, 130, 20)
    pieces = [piece(cut, LEFT, "ann"), piece(cut.buffer(-0.5), LEFT, "bob"), piece(whole, RIGHT, "right")]
    merged = merge_instances(pieces)
    assert keys(merged) == [["ann", "right"], ["bob"]]


def test_fragments_of_a_horseshoe_join_through_the_tile_that_shows_it_whole() -> None:
    """The left tile's edge cuts a U that lies open to the left into two legs."""
    whole = shapely.box(85, 10, 150, 50).difference(shapely.box(80, 20, 140, 40))
    legs = shapely.get_parts(shapely.intersection(whole, shapely.box(0, 0, 100, 100)))
    assert len(legs) == 2
    (merged,) = merge_instances([*(piece(leg, LEFT) for leg in legs), piece(whole, RIGHT)])
    assert merged.rule == "central"
    assert merged.geometry.equals(whole)


def test_row_houses_along_a_seam_stay_apart() -> None:
    """Walls shared, drawn 1 px off, all cut by the left tile's edge."""
    pieces = []
    for k in range(6):
        top = 10 + 12 * k
        pieces.append(piece(shapely.box(70, top, 100, top + 13), LEFT, k))
        pieces.append(piece(shapely.box(80, top - 1, 120, top + 12), RIGHT, k))
    assert keys(merge_instances(pieces)) == [[k, k] for k in range(6)]


def test_a_house_drawn_too_large_does_not_chain_its_neighbour() -> None:
    """The right tile's first house reaches over most of the second, which both tiles show as two."""
    pieces = [
        piece(shapely.box(60, 10, 100, 20), LEFT, 1),
        piece(shapely.box(60, 20, 100, 30), LEFT, 2),
        piece(shapely.box(80, 10, 120, 28.5), RIGHT, 1),
        piece(shapely.box(80, 20, 120, 30), RIGHT, 2),
    ]
    assert keys(merge_instances(pieces)) == [[1, 1], [2, 2]]


def test_a_thing_that_four_tiles_cut() -> None:
    house = shapely.box(40, 40, 140, 140)
    windows: list[WindowPx] = [LEFT, RIGHT, BELOW, (80, 80, 100, 100)]
    frames = [shapely.box(c, r, c + w, r + h) for c, r, w, h in windows]
    (merged,) = merge_instances([piece(house & f, w) for f, w in zip(frames, windows, strict=True)])
    assert (merged.rule, merged.views) == ("union", 4)
    assert merged.geometry.equals(house)
    assert merged.iou_min == pytest.approx(1)


def test_points() -> None:
    pieces = [
        piece(shapely.Point(90, 50), LEFT, 1),
        piece(shapely.Point(91.5, 50), RIGHT, 1),
        piece(shapely.Point(90, 60), LEFT, 2),
        piece(shapely.Point(92.5, 60), RIGHT, 3),  # too far
        piece(shapely.Point(50, 50), LEFT, 4),
        piece(shapely.Point(51, 50), LEFT, 5),  # one tile's annotator means two
    ]
    merged = merge_instances(pieces)
    assert keys(merged) == [[1, 1], [2], [3], [4], [5]]
    (twice,) = (m for m in merged if m.views == 2)
    assert twice.rule == "central"
    assert twice.geometry.equals(shapely.Point(91.5, 50)) or twice.geometry.equals(shapely.Point(90, 50))
    assert twice.iou_min is None
    assert keys(merge_instances(pieces, radius=3)) == [[1, 1], [2, 3], [4], [5]]


def test_invalid_and_empty_pieces_do_no_harm() -> None:
    bowtie = shapely.Polygon([(82, 10), (98, 20), (98, 10), (82, 20)])
    pieces = [piece(bowtie, LEFT, 1), piece(shapely.make_valid(bowtie), RIGHT, 1), piece(shapely.Polygon(), LEFT, 2)]
    assert keys(merge_instances(pieces)) == [[1, 1]]
    assert keys(dissolve(pieces)) == [[1, 1]] * 2  # two halves that meet in a point
    assert merge_instances([]) == dissolve([]) == list(merge_stream([])) == []


# surfaces


def test_surfaces_dissolve_where_they_touch() -> None:
    pieces = [
        piece(shapely.box(10, 10, 100, 50), LEFT, "a", "water"),
        piece(shapely.box(80, 10, 150, 40), RIGHT, "b", "water"),
        piece(shapely.box(80, 60, 90, 70), RIGHT, "c", "water"),
        piece(shapely.box(10, 10, 100, 50), LEFT, "d", "grass"),
    ]
    merged = dissolve(pieces)
    assert keys(merged) == [["a", "b"], ["c"], ["d"]]
    (both,) = (m for m in merged if len(m.members) == 2)
    assert (both.rule, both.views, both.iou_min) == ("dissolve", 2, None)
    assert both.geometry.equals(shapely.union_all([p.geometry for p in pieces[:2]]))
    assert {m.rule for m in merged if m is not both} == {"single"}


def test_parts_of_one_piece_that_lie_apart_become_two() -> None:
    ponds = shapely.MultiPolygon([shapely.box(0, 0, 10, 10), shapely.box(90, 0, 100, 10)])
    merged = dissolve([piece(ponds, LEFT, 1), piece(shapely.box(80, 0, 120, 10), RIGHT, 2)])
    assert keys(merged) == [[1], [1, 2]]
    assert sorted(m.geometry.area for m in merged) == [100, 400]


# the sweep


def rectangles(seed: int, count: int) -> list[Piece]:
    """Rectangles, points and surfaces over 4 × 5 tiles of uneven rows, cut and jittered."""
    rng = np.random.default_rng(seed)
    windows = [(c, r + int(rng.integers(0, 3)), w, h) for c, r, w, h in grid(330, 400, 100, 25)]
    corners, sizes = rng.uniform(0, 380, (count, 2)), rng.uniform(2, 90, (count, 2))
    labels = rng.choice(["house", "car", "water"], count)
    pieces = []
    for window in windows:
        column, row, width, height = window
        frame = shapely.box(column, row, column + width, row + height)
        for k, (low, size, label) in enumerate(zip(corners, sizes, labels.tolist(), strict=True)):
            off = rng.uniform(-1, 1, 2)
            whole = shapely.Point(low + off) if label == "car" else shapely.box(*(low + off), *(low + size + off))
            seen = whole & frame
            if not seen.is_empty and seen.geom_type in ("Point", "Polygon"):
                pieces.append(piece(seen, window, (k, window), label))
    return sorted(pieces, key=lambda p: (p.window[1], p.window[0]))


def summary(merged: Sequence[Merged]) -> list[Any]:
    return sorted(
        (m.label, sorted(p.key for p in m.members), m.rule, m.views, m.iou_min or 0.0, round(m.geometry.area, 6))
        for m in merged
    )


@given(st.integers(0, 10_000), st.integers(0, 60))
def test_the_stream_says_what_the_whole_says(seed: int, count: int) -> None:
    pieces = rectangles(seed, count)
    streamed = list(merge_stream(iter(pieces), {"water"}))
    at_once = merge_instances([p for p in pieces if p.label != "water"])
    at_once += dissolve([p for p in pieces if p.label == "water"])
    assert summary(streamed) == summary(at_once)


@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_every_piece_is_in_one_thing_and_the_order_of_tiles_does_not_matter(seed: int, chance: random.Random) -> None:
    pieces = [p for p in rectangles(seed, 40) if p.label != "water"]
    merged = merge_instances(pieces)
    assert sorted(k for m in keys(merged) for k in m) == sorted(p.key for p in pieces)
    windows = sorted({p.window for p in pieces})
    chance.shuffle(windows)
    assert summary(merge_instances([p for w in windows for p in pieces if p.window == w])) == summary(merged)


def test_the_stream_holds_a_few_rows_only() -> None:
    """A scene 400 tiles high: what was read and not yet given out stays under what three rows of tiles show."""
    read = given_out = most = 0

    def tall() -> Iterator[Piece]:
        nonlocal read
        for k in range(400):
            for n in range(20):
                y = k * 80 + 4 * n + 12
                read += 1
                label = "water" if n % 3 == 0 else "house"
                yield piece(shapely.box(10, y, 40, y + 3), (0, k * 80, 100, 100), (k, n), label)

    for merged in merge_stream(tall(), {"water"}):
        given_out += len(merged.members)
        most = max(most, read - given_out)
    assert given_out == read == 8000
    assert most <= 60


def test_a_stream_out_of_order_is_refused() -> None:
    box = shapely.box(0, 0, 1, 1)
    with pytest.raises(InvalidInput, match="sort pieces"):
        list(merge_stream([piece(box, BELOW), piece(box, LEFT)]))
    with pytest.raises(InvalidInput, match="sort pieces"):
        list(merge_stream([piece(box, RIGHT), piece(box, LEFT)]))
