"""No batch that breaks the rules while there are tasks that keep them; and what gives way is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook.core.pool import Ground, Pool, Ranking, ranking
from groundlook.strategies.rules import Rules

ALL = Rules(empties=0.2, alike=0.98, scene=0.3, block=0.5, season=0.6)


def pool(count: int, seed: int = 0, kinds: int = 30, scenes: int = 8) -> Pool:
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(kinds, 16))
    code = {name: rng.integers(-1, scenes, count) for name in ("scene", "block", "season", "sensor")}
    ground = Ground(np.full((count, 2), np.nan), np.full(count, np.nan), np.full(count, np.nan), **code)
    return Pool(
        rng.permutation(count) + 100,
        rng.random(count),
        looks[rng.integers(kinds, size=count)].astype(np.float32),
        np.zeros((0, 16), np.float32),
        empty=np.where(rng.random(count) < 0.1, np.nan, rng.random(count)),
        ground=ground,
    )


def ranked(given_pool: Pool, chosen: int) -> Ranking:
    order = np.argsort(-given_pool.score)
    return ranking(given_pool, order[:chosen], "best", {"score": given_pool.score[order[:chosen]]})


def broken(given_pool: Pool, batch: np.ndarray, rules: Rules) -> set[str]:
    """By the plain definition."""
    found = set()
    if (given_pool.empty[batch] > 0.5).sum() > rules.empties * len(batch):
        found.add("empties")
    about = given_pool.embedding[batch] - given_pool.embedding.mean(axis=0)
    unit = about / np.maximum(np.linalg.norm(about, axis=1, keepdims=True), 1e-9)
    if (np.triu(unit @ unit.T, 1) >= rules.alike).any():
        found.add("alike")
    for name in ("scene", "block", "season"):
        codes = getattr(given_pool.ground, name)[batch]
        if np.bincount(codes[codes >= 0], minlength=1).max() > max(1, getattr(rules, name) * len(batch) + 1e-9):
            found.add(name)
    return found


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(1, 20), st.integers(0, 99))
def test_the_batch_keeps_the_rules_or_says_what_gave_way(count: int, wanted: int, seed: int) -> None:
    given_pool = pool(count, seed)
    before = ranked(given_pool, min(2 * wanted, count))
    after = ALL.apply(before, given_pool, wanted)
    assert sorted(after.rows.tolist()) == list(range(count))
    batch = after.rows[: min(wanted, count)]
    breaks = broken(given_pool, batch, ALL)
    assert ("empties" in breaks) == ("cap of empty" in after.why)
    assert ("alike" in breaks) == ("near-duplicates" in after.why)
    assert bool(breaks & {"scene", "block", "season"}) == ("cap per" in after.why)
    if not breaks and "for want of others" not in after.why:
        assert ALL.apply(after, given_pool, wanted).rows.tolist() == after.rows.tolist(), "nothing left to move"


@given(st.integers(0, 99))
def test_the_others_keep_their_order_and_their_terms(seed: int) -> None:
    given_pool = pool(200, seed)
    before = ranked(given_pool, 30)
    after = ALL.apply(before, given_pool, 10)
    place = {row: i for i, row in enumerate(before.rows.tolist())}
    for part in (after.rows[:10], after.rows[10:]):
        assert [place[r] for r in part.tolist()] == sorted(place[r] for r in part.tolist())
    assert after.chosen == len(after.terms["score"]) == 30
    for row, term in zip(after.rows, after.terms["score"], strict=False):
        known = place[int(row)] < 30
        assert term == given_pool.score[row] if known else np.isnan(term)


def test_a_batch_without_a_fault_stays_as_it_is() -> None:
    given_pool = replace(pool(50, kinds=50), empty=None, ground=None)
    given_pool = replace(given_pool, embedding=np.eye(50, 64, dtype=np.float32))
    before = ranked(given_pool, 10)
    assert Rules().apply(before, given_pool) == before


def test_unknown_breaks_no_rule() -> None:
    given_pool = replace(
        pool(20), embedding=np.full((20, 4), np.nan, np.float32), empty=np.full(20, np.nan), ground=None
    )
    before = ranked(given_pool, 10)
    assert ALL.apply(before, given_pool) == before


def test_places_give_way_first_and_empties_last() -> None:
    count = 12
    eye = np.eye(count, dtype=np.float32)
    scene = np.array([0] * 4 + [1, 2, 3, 4, 5, 6, 7, 8])
    unknown = np.full(count, -1)
    ground = Ground(np.zeros((count, 2)), np.zeros(count), np.zeros(count), scene, unknown, unknown, unknown)
    empty = np.where(np.arange(count) >= 8, 1.0, 0.0)
    score = -np.arange(count, dtype=np.float64)
    given_pool = Pool(np.arange(count), score, eye, np.zeros((0, count), np.float32), empty=empty, ground=ground)
    after = Rules(empties=0.0, scene=0.1).apply(ranked(given_pool, 8), given_pool)
    assert sorted(after.rows[:8].tolist()) == list(range(8)), "three more of scene 0, none of the empty ones"
    assert "3 against the cap per scene" in after.why
    assert "empty" not in after.why


def test_near_duplicates_of_picks_give_their_place_to_the_next() -> None:
    look = np.array([[1, 0], [1, 0.01], [-1, 0], [0, -1]], np.float32) + 5
    given_pool = Pool(np.arange(4), np.array([4.0, 3.0, 2.0, 1.0]), look, np.zeros((0, 2), np.float32))
    after = Rules().apply(ranked(given_pool, 2), given_pool)
    assert after.rows.tolist() == [0, 2, 1, 3]
    assert "1 taken for others" in after.why
    assert Rules(alike=None).apply(ranked(given_pool, 2), given_pool).rows.tolist() == [0, 1, 2, 3]


def test_constant_embeddings_and_one_task() -> None:
    given_pool = replace(pool(300), embedding=np.ones((300, 4), np.float32), ground=None, empty=None)
    after = Rules().apply(ranked(given_pool, 10), given_pool)
    assert after.rows.tolist() == ranked(given_pool, 10).rows.tolist()
    assert "9 against near-duplicates" in after.why
    one = pool(1)
    assert ALL.apply(ranked(one, 1), one, 5).rows.tolist() == [0]


def test_a_share_beyond_1_is_named() -> None:
    with pytest.raises(InvalidInput, match="rule scene 2"):
        Rules(scene=2)
