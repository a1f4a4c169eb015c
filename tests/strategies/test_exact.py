"""What is fast picks the same as what is plain."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundlook.strategies import diversity
from groundlook.strategies.badge import Gradients
from groundlook.strategies.cover import greedy_cover
from groundlook.strategies.diversity import farthest_first, k_center
from groundlook.strategies.herding import WIDE, bandwidth, herd
from groundlook.strategies.kmeans import in_turns, k_means, nearest, representatives
from groundlook.strategies.order import best_first
from groundlook.strategies.plusplus import plus_plus
from groundlook.strategies.probcover import radius
from groundlook.strategies.typiclust import typicality
from groundlook.strategies.vectors import Vectors, finite_rows, squared


def cloud(size: int, seed: int, clusters: int = 6, wide: int = 8) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    middles = 3 * rng.normal(size=(clusters, wide))
    return (middles[rng.integers(0, clusters, size)] + rng.normal(size=(size, wide))).astype(np.float32)


def apart(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    return ((a[:, None].astype(np.float64) - b[None]) ** 2).sum(axis=2)


# spread


def full_greedy(
    points: NDArray[np.float32], centers: NDArray[np.float32], count: int, weight: NDArray[np.float64]
) -> list[int]:
    picks: list[int] = []
    for _ in range(count):
        far = apart(points, np.concatenate([centers, points[picks]])).min(axis=1) * weight**2
        far[picks] = -1
        picks.append(int(far.argmax()))
    return picks


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), size=st.integers(1, 300), done=st.integers(1, 30), weighed=st.booleans())
def test_k_center_is_the_full_greedy_choice(seed: int, size: int, done: int, weighed: bool) -> None:
    points, centers = cloud(size, seed), cloud(done, seed + 1)
    weight = np.random.default_rng(seed).uniform(0.1, 1, size) if weighed else np.ones(size)
    picks, values = farthest_first(Vectors.of(points), centers, 20, np.random.default_rng(0), weight)
    assert picks.tolist() == full_greedy(points, centers, min(20, size), weight)
    assert (np.diff(values) <= 1e-5).all(), "what is left only comes nearer"


def test_k_center_looks_ahead_and_still_picks_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """With few rows ahead, bounds run out and are looked through anew."""
    points, centers = cloud(2000, 5), cloud(40, 6)
    monkeypatch.setattr(diversity, "_AHEAD", 16)
    monkeypatch.setattr(diversity, "_BATCH", 2)
    picks, _ = k_center(points, centers, 60, np.random.default_rng(0))
    assert picks.tolist() == full_greedy(points, centers, 60, np.ones(2000))


def test_k_center_tells_how_far_each_was() -> None:
    points, centers = cloud(80, 3), cloud(4, 4)
    picks, gaps = k_center(points, centers, 10, np.random.default_rng(0))
    for turn, (pick, gap) in enumerate(zip(picks, gaps, strict=True)):
        covered = np.concatenate([centers, points[picks[:turn]]])
        assert gap == pytest.approx(np.sqrt(apart(points[[pick]], covered).min()), rel=1e-4)


def test_k_center_without_centres_starts_at_random() -> None:
    points = cloud(50, 3)
    starts = {int(k_center(points, points[:0], 3, np.random.default_rng(seed))[0][0]) for seed in range(8)}
    assert len(starts) > 3
    picks, gaps = k_center(points, points[:0], 9, np.random.default_rng(1))
    assert gaps[0] == np.inf
    assert picks[1:].tolist() == full_greedy(points, points[picks[:1]], 8, np.ones(50))


def test_k_center_picks_nobody_twice_even_among_equals() -> None:
    points = np.full((6, 3), 0.7, dtype=np.float32)
    picks, _ = k_center(points, np.zeros((0, 3), dtype=np.float32), 9, np.random.default_rng(0))
    assert sorted(picks.tolist()) == [0, 1, 2, 3, 4, 5]
    assert picks[1:].tolist() == sorted(picks[1:].tolist()), "of equals the lowest"


# sampling by squared distance


@pytest.mark.parametrize("copies", [1, 40])
def test_plus_plus_draws_as_often_as_the_plain_way(copies: int) -> None:
    """How often each pair (second, third pick) comes, against its chance. With copies, most draws miss."""
    points = np.repeat(np.array([[0.0], [1], [3], [4], [9]]), copies, axis=0)

    def distance(places: NDArray[np.int64], picks: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray((points[places] - points[picks].T) ** 2)

    rng, runs = np.random.default_rng(0), 4000
    seen = np.zeros((5, 5))
    for _ in range(runs):
        _, second, third = plus_plus(distance, len(points), 0, 3, rng)
        seen[second // copies, third // copies] += 1
    spots = points[::copies, 0]
    first = spots**2 / (spots**2).sum()
    for a, b in itertools.product(range(1, 5), range(1, 5)):
        left = np.minimum(spots**2, (spots - spots[a]) ** 2)
        chance = first[a] * left[b] / left.sum()
        assert seen[a, b] / runs == pytest.approx(chance, abs=4 * np.sqrt(chance / runs) + 1e-9)


def test_plus_plus_among_copies_takes_the_lowest() -> None:
    picks = plus_plus(lambda places, picks: np.zeros((len(places), len(picks))), 6, 3, 4, np.random.default_rng(0))
    assert picks.tolist() == [3, 0, 1, 2]


def test_gradients_are_never_built_but_measured() -> None:
    rng = np.random.default_rng(0)
    points, proba = cloud(30, 1), rng.dirichlet(np.ones(5), 30).astype(np.float32)
    error = proba - np.eye(5)[proba.argmax(axis=1)]
    plain = (error[:, :, None] * points[:, None, :]).reshape(30, -1)
    factored = Gradients(Vectors.of(points), proba)
    places = np.arange(30)
    np.testing.assert_allclose(factored.length, (plain**2).sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose(
        factored.distance(places, places[:9]), apart(plain, plain[:9]), rtol=1e-3, atol=1e-4 * factored.length.max()
    )


# clusters


def test_k_means_finds_what_is_there_and_ends_at_its_own_middles() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 4, 400)
    points = (20 * np.eye(4, 6)[kinds] + rng.normal(size=(400, 6))).astype(np.float32)
    found = k_means(points, 4, rng)
    assert len({tuple(sorted(set(kinds[found.labels == label]))) for label in range(4)}) == 4
    for label in range(4):
        np.testing.assert_allclose(found.centres[label], points[found.labels == label].mean(axis=0), rtol=1e-4)
    np.testing.assert_array_equal(found.labels, apart(points, found.centres).argmin(axis=1))
    assert found.sizes.sum() == 400


def test_k_means_weighs() -> None:
    points = np.array([[0.0], [1], [2], [30]], np.float32)
    found = k_means(points, 2, np.random.default_rng(0), np.array([1.0, 1, 8, 5]))
    assert sorted(found.centres[:, 0].tolist()) == pytest.approx([1.7, 30])


def test_representatives_are_of_different_clusters_the_large_first() -> None:
    kinds = np.repeat(np.arange(4), [10, 40, 20, 30])
    points = (50 * np.eye(4, 6)[kinds] + np.random.default_rng(0).normal(size=(100, 6))).astype(np.float32)
    picks, sizes = representatives(points, 4, np.random.default_rng(0))
    assert kinds[picks].tolist() == [1, 3, 2, 0]
    assert sizes.tolist() == [40, 30, 20, 10]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=30), st.integers(0, 3))
def test_turns_are_those_of_the_plain_loop(rows: list[tuple[int, int]], had_one: int) -> None:
    groups, worth = np.array([g for g, _ in rows]), np.array([float(w) for _, w in rows])
    had = np.zeros(4, np.int64)
    had[had_one] = 2
    sizes = np.bincount(groups, minlength=4)
    left, count, order = set(range(len(rows))), had.copy(), []
    while left:
        group = min({int(groups[i]) for i in left}, key=lambda g: (count[g], -sizes[g], g))
        best = min((i for i in left if groups[i] == group), key=lambda i: (-worth[i], i))
        order.append(best)
        left.remove(best)
        count[group] += 1
    assert in_turns(groups, worth, had, sizes).tolist() == order


@pytest.mark.parametrize("size", [1, 2, 15, 60])
def test_typicality_is_of_the_twenty_nearest(size: int) -> None:
    points = cloud(size, 2)
    gaps = np.sort(np.sqrt(apart(points, points)), axis=1)[:, 1:21]
    plain = 1 / gaps.mean(axis=1) if size > 1 else np.ones(1)
    np.testing.assert_allclose(typicality(points), plain, rtol=1e-3)


# covers


def plain_cover(kernel: NDArray[np.float64], covered: NDArray[np.float64], count: int) -> list[int]:
    picks: list[int] = []
    for _ in range(count):
        gain = np.maximum(kernel - covered, 0).sum(axis=1)
        gain[picks] = -1
        picks.append(int(gain.argmax()))
        covered = np.maximum(covered, kernel[picks[-1]])
    return picks


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), size=st.integers(1, 90))
def test_the_lazy_cover_is_the_greedy_one(seed: int, size: int) -> None:
    """Whole numbers: equals are many, and sums exact."""
    rng = np.random.default_rng(seed)
    kernel, covered = rng.integers(0, 9, (size, 70)), rng.integers(0, 5, 70)
    picks, gains = greedy_cover(
        kernel.astype(np.float32), covered.astype(np.float32), np.ones(70, np.float32), min(size, 25)
    )
    assert picks.tolist() == plain_cover(kernel.astype(float), covered.astype(float), min(size, 25))
    assert (np.diff(gains) <= 0).all()


@pytest.mark.parametrize("weighed", [False, True])
def test_herding_is_the_greedy_choice_of_the_paper(weighed: bool) -> None:
    points, done = cloud(300, 1), cloud(12, 2)
    weight = np.random.default_rng(0).random(300) if weighed else np.ones(300)
    width = bandwidth(done, np.ones(3))
    near = np.sort(apart(done, done), axis=1)[:, 1]
    assert width == pytest.approx(np.median(near), rel=1e-4)
    kernel = np.exp(-apart(points, points) / (WIDE * width))
    covered = np.exp(-apart(points, done).min(axis=1) / (WIDE * width))
    picks, gains = herd(Vectors.of(points), done, weight, 30, np.random.default_rng(0), 1, 1)
    # Σ w max(k − c, 0) of weights is Σ max(wk − wc, 0)
    assert picks.tolist() == plain_cover(kernel * weight, covered * weight, 30)
    assert (gains > 0).all()


def test_herding_of_a_draw_covers_nearly_as_much_as_of_all() -> None:
    points, done = cloud(6000, 1, clusters=60), cloud(20, 2)
    weight = np.random.default_rng(0).random(6000) ** 3

    def cover(picks: NDArray[np.int64]) -> float:
        kernel = np.exp(
            -apart(points, np.concatenate([done, points[picks]])).min(axis=1) / (WIDE * bandwidth(done, weight))
        )
        return float((weight * kernel).sum())

    drawn, _ = herd(Vectors.of(points), done, weight, 40, np.random.default_rng(0), 1024, 2048)
    whole, _ = herd(Vectors.of(points), done, weight, 40, np.random.default_rng(0), 6000, 6000)
    assert cover(drawn) > 0.93 * cover(whole)


@pytest.mark.parametrize("done", [np.zeros((1, 4)), np.zeros((5, 4))])
def test_the_bandwidth_is_never_nothing(done: NDArray[np.float64]) -> None:
    assert bandwidth(done.astype(np.float32), np.array([0.0, 0.0, 4.0])) == 4
    assert bandwidth(done.astype(np.float32), np.zeros(3)) == 1


def test_the_radius_is_the_largest_that_is_pure() -> None:
    points = cloud(200, 3, clusters=3)
    labels = k_means(points, 3, np.random.default_rng(0)).labels
    table = squared(points, points)

    def purity(reach: float) -> float:
        return 1 - float(((table <= reach) & (labels[:, None] != labels)).any(axis=1).mean())

    found = radius(table, labels)
    assert purity(found) >= 0.95
    assert purity(float(np.nextafter(np.float32(found), np.float32(np.inf)))) < 0.95


# rows


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_rows_that_hold_no_number_are_found(kind: type) -> None:
    values = cloud(5000, 1).astype(kind)
    values[7, 3], values[8, 0], values[4500, :] = np.nan, np.inf, np.nan
    values[9] = 0
    assert np.flatnonzero(~finite_rows(values)).tolist() == [7, 8, 4500]


@given(st.lists(st.sampled_from([0.5, 1.0, 2.0, np.nan, np.inf, -np.inf]), max_size=40), st.integers(0, 99))
def test_the_best_come_first_and_ties_go_by_id(values: list[float], seed: int) -> None:
    worth, ids = np.array(values, np.float64), np.random.default_rng(seed).permutation(len(values))
    plain = sorted(range(len(values)), key=lambda i: (-values[i] if np.isfinite(values[i]) else np.inf, ids[i]))
    assert best_first(worth, ids).tolist() == plain


@pytest.mark.parametrize("rows", [np.arange(9000), np.arange(0, 9000, 3), np.random.default_rng(0).permutation(9000)])
def test_chunks_are_the_rows_in_order(rows: NDArray[np.int64]) -> None:
    values = np.arange(18000, dtype=np.float32).reshape(9000, 2)
    read = Vectors(values, rows)
    parts = list(read.chunks())
    assert np.concatenate([part for _, part in parts]).tolist() == values[rows].tolist()
    assert [p.start for p, _ in parts] == list(range(0, len(rows), 4096))
    assert read.take(np.array([3, 1])).tolist() == values[rows[[3, 1]]].tolist()


def test_copies_are_at_no_distance_and_others_are() -> None:
    points = (1000 + cloud(40, 1)).astype(np.float32)
    table = squared(points, np.concatenate([points[:5], points[:5] + 10]))
    assert (np.diag(table)[:5] == 0).all()
    assert (table[:, 5:] > 0).all()
    assert (nearest(points, points[:5])[:5] == np.arange(5)).all()
