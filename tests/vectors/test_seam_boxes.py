"""Boxes that overlap, and boxes that several windows show, against sahi and against known truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sahi.postprocess.combine import batched_greedy_nmm, greedy_nmm

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import TileRef
from groundlook.core.geometry import Box
from groundlook.core.types import ModelVersion, Prediction, Region
from groundlook_adapters.vectors.seams.boxes import Metric, greedy_groups
from groundlook_adapters.vectors.seams.found import Seams
from groundlook_adapters.vectors.seams.views import Views, cut_off, merged_boxes, view_groups
from tests.vectors.seam_oracle import across, hits, looked, sahi_merged, views, world


def sahi_groups(rows: NDArray[np.float32], metric: str, threshold: float, aware: bool) -> list[int]:
    """`rows` (N, 6): boxes, score, label."""
    groups = np.full(len(rows), -1)
    found = (batched_greedy_nmm if aware else greedy_nmm)(rows, metric, threshold)
    for keeper, others in found.items():
        groups[[keeper, *others]] = keeper
    return groups.tolist()


def clustered(rng: np.random.Generator, count: int, side: float, labels: int = 3) -> NDArray[np.float32]:
    """Every object seen about three times, a few pixels off."""
    corner, size = rng.uniform(0, side, (count // 3, 2)), rng.uniform(6, 60, (count // 3, 2))
    once = np.concatenate([corner, corner + size], axis=1)
    boxes = np.concatenate([once + rng.normal(0, 2, once.shape) for _ in range(3)])
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 0.5)
    rest = [rng.uniform(0.05, 1, len(boxes)), rng.integers(0, labels, len(boxes))]
    return np.column_stack([boxes, *rest]).astype(np.float32)


@pytest.mark.parametrize("metric", ["IOS", "IOU"])
@pytest.mark.parametrize("aware", [True, False])
@pytest.mark.parametrize("count", [3, 300, 6000])  # sahi takes other ways for many boxes
def test_the_same_groups_as_sahi(metric: Metric, aware: bool, count: int) -> None:
    for seed in range(3):
        rows = clustered(np.random.default_rng(seed), count, side=20 * np.sqrt(count))
        ours = greedy_groups(rows[:, :4], rows[:, 4], rows[:, 5] if aware else None, metric=metric)
        assert ours.tolist() == sahi_groups(rows, metric, 0.5, aware)


corners = st.integers(0, 12)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(*[corners] * 4, st.sampled_from([0.2, 0.5, 0.9]), st.integers(0, 1)), max_size=24),
    st.sampled_from(["IOS", "IOU"]),
    st.sampled_from([0.1, 0.5, 0.75, 1.0]),
    st.booleans(),
)  # fmt: skip
def test_ties_touching_and_flat_boxes_go_where_sahi_puts_them(
    items: list[tuple[Any, ...]], metric: Metric, threshold: float, aware: bool
) -> None:
    rows = np.array(
        [[min(a, c), min(b, d), max(a, c), max(b, d), s, k] for a, b, c, d, s, k in items], dtype=np.float32
    )
    rows = rows.reshape(-1, 6)
    ours = greedy_groups(rows[:, :4], rows[:, 4], rows[:, 5] if aware else None, metric=metric, threshold=threshold)
    assert ours.tolist() == sahi_groups(rows, metric, threshold, aware)


def test_many_equal_scores_and_one_huge_box() -> None:
    rows = clustered(np.random.default_rng(0), 3000, 600.0)
    rows[:, 4] = 0.5
    rows[7, :4] = (-50, -50, 800, 800)
    for aware in (True, False):
        ours = greedy_groups(rows[:, :4], rows[:, 4], rows[:, 5] if aware else None)
        assert ours.tolist() == sahi_groups(rows, "IOS", 0.5, aware)


@pytest.mark.parametrize("seen", [2, 60])  # few pairs, and more than anybody would list
def test_heaps_of_boxes_and_places_far_away(seen: int) -> None:
    rng = np.random.default_rng(seen)
    rows = np.tile(clustered(rng, 90, 2000.0), (seen, 1))
    rows[:, :4] += rng.normal(0, 1, (len(rows), 2))[:, [0, 1, 0, 1]]
    rows[:, 4] = rng.uniform(0.05, 1, len(rows))
    rows[5, :4] = (1e15, -1e15, 2e15, 1e15)
    for metric in ("IOS", "IOU"):
        ours = greedy_groups(rows[:, :4], rows[:, 4], rows[:, 5], metric=metric)
        assert ours.tolist() == sahi_groups(rows, metric, 0.5, True)


def test_what_can_not_be_merged_is_named() -> None:
    one = np.array([[0.0, 0.0, 1.0, 1.0]])
    assert greedy_groups(np.zeros((0, 4)), np.zeros(0)).tolist() == []
    with pytest.raises(InvalidInput, match="1 boxes, 2 scores"):
        greedy_groups(one, [0.1, 0.2])
    with pytest.raises(InvalidInput, match="box 0 is"):
        greedy_groups(one[:, ::-1], [0.1])
    with pytest.raises(InvalidInput, match="finite"):
        greedy_groups(one, [np.nan])
    with pytest.raises(InvalidInput, match="threshold 0"):
        greedy_groups(one, [0.5], threshold=0)


# views


def merged(seen: Views) -> list[list[float]]:
    boxes, _ = merged_boxes(seen, np.full(len(seen.boxes), 0.5), view_groups(seen))
    return np.round(boxes, 3).tolist()


A, B, C = (0, 0, 400, 400), (300, 0, 400, 400), (600, 0, 400, 400)  # 100 px of overlap


def test_one_thing_in_the_overlap_is_one() -> None:
    assert merged(views([(310, 50, 360, 90), (312, 52, 360, 90)], [A, B])) == [[311, 51, 360, 90]]


def test_a_cut_piece_is_absorbed_by_the_whole() -> None:
    assert merged(views([(380, 50, 400, 90), (381, 49, 440, 91)], [A, B])) == [[381, 49, 440, 91]]
    assert merged(views([(397, 52, 400, 88), (394, 50, 440, 90)], [A, B])) == [[394, 50, 440, 90]]  # a sliver


def test_the_pieces_of_something_large_are_joined() -> None:
    seen = views([(100, 50, 400, 90), (300, 51, 700, 90), (600, 50, 900, 89)], [A, B, C])
    assert cut_off(seen).all()
    assert merged(seen) == [[100, 50, 900, 90]]


def test_neighbours_that_both_windows_see_stay_two() -> None:
    """They overlap by 0.6 of the smaller, where greedy merging makes one of them."""
    pair = [(310, 50, 350, 90), (326, 50, 360, 90)]
    seen = views([*pair, *pair], [A, A, B, B])
    assert merged(seen) == [list(map(float, b)) for b in pair]
    assert len(set(greedy_groups(seen.boxes, [0.9, 0.8, 0.9, 0.8]).tolist())) == 1


def test_neighbours_of_which_one_is_cut_stay_two() -> None:
    seen = views([(350, 50, 395, 90), (396, 50, 400, 90), (350, 50, 395, 90), (396, 50, 440, 90)], [A, A, B, B])
    assert merged(seen) == [[350, 50, 395, 90], [396, 50, 440, 90]]


def test_prongs_that_an_edge_cut_apart_are_one() -> None:
    up, down = (0, 0, 400, 400), (0, 300, 400, 400)
    seen = views([(50, 360, 80, 400), (150, 360, 180, 400), (50, 360, 180, 460)], [up, up, down])
    assert merged(seen) == [[50, 360, 180, 460]]


def test_labels_windows_and_far_ends_keep_boxes_apart() -> None:
    box = (310, 50, 360, 90)
    assert len(merged(views([box, box], [A, B], labels=[0, 1]))) == 2
    assert len(merged(views([box, box], [A, A]))) == 2
    assert merged(views(np.zeros((0, 4)), np.zeros((0, 4)))) == []


def test_windows_without_overlap_are_joined_along_their_seam() -> None:
    left, right = (0, 0, 500, 1000), (500, 0, 500, 1000)
    seen = views(
        [(450, 50, 500, 90), (500, 51, 570, 91), (501, 200, 560, 240), (480, 300, 494, 340)], [left, right, right, left]
    )
    assert merged(seen) == [[450, 50, 570, 91], [501, 200, 560, 240], [480, 300, 494, 340]]


@pytest.mark.parametrize("overlap", [128, 64, 0])
def test_at_least_what_sahi_finds_at_the_seams(overlap: int) -> None:
    mine, theirs, crossing, sizes = 0, 0, 0, np.zeros(3, np.int64)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        truth = world(rng, 2000)
        seen = looked(rng, truth, 2000, overlap, 1.5)
        scores = rng.uniform(0.3, 1, len(seen.boxes))
        ours, _ = merged_boxes(seen, scores, view_groups(seen))
        sahi = sahi_merged(seen.boxes, scores)
        cross = across(truth, seen.windows, 2000)
        mine, theirs = mine + hits(ours, truth)[cross].sum(), theirs + hits(sahi, truth)[cross].sum()
        crossing += int(cross.sum())
        sizes += (len(ours), len(sahi), len(truth))
    assert mine >= theirs
    assert mine >= 0.995 * crossing
    assert sizes[0] <= sizes[1]  # no more boxes than sahi's: precision is no lower
    assert sizes[0] <= 1.005 * sizes[2]


@pytest.mark.parametrize("turns", [(0.0, 0.2), (0.2, 0.0)])
def test_a_box_that_one_window_sees_turned_meets_its_upright_twin(turns: tuple[float, float]) -> None:
    seams = Seams((200, 100))
    for column, turn in zip((0, 50), turns, strict=True):
        region = Region(Box(60 - column, 20, 30, 20, turn), "car", 0.9)
        other = Region(Box(60 - column, 60, 30, 20), "roof", 0.9)
        tile = TileRef("a", "b", (column, 0, 100, 100))
        seams.add(tile, Prediction(ModelVersion("m", "aa"), (region, other)))
    found = seams.finished(None)
    assert sorted((f.region.label, f.views) for f in found) == [("car", 2), ("roof", 2)]
