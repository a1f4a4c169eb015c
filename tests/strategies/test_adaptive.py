"""Adaptive: who leads, what it learns from measured gains, and that noise teaches it nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundlook.core.errors import EmptyPool, InvalidInput
from groundlook.core.pool import Pool, Round
from groundlook.strategies.adaptive import ALL, MISSING, NOTHING, PARTS, WHOLE, Adaptive, stage_of, turns
from groundlook.strategies.bandit import gains, shifted

RNG = np.random.default_rng


def pool(count: int = 60, labelled: int = 30, classes: int = 3, seed: int = 0) -> Pool:
    rng = RNG(seed)
    look = rng.normal(size=(count + labelled, 6)).astype(np.float32)
    proba = rng.dirichlet(np.ones(classes), count).astype(np.float32)
    seen = np.arange(labelled) % classes
    done = np.zeros((0, 6), np.float32) if not labelled else look[count:]
    return Pool(np.arange(count), np.full(count, np.nan), look[:count], done, "classification", proba, seen)


def test_the_stage_is_what_is_labelled_and_what_the_model_says() -> None:
    assert stage_of(pool(labelled=0)) == NOTHING
    assert stage_of(replace(pool(), proba=None, classes=None)) == NOTHING
    assert stage_of(pool(labelled=8)) == MISSING
    assert stage_of(pool(labelled=9)) == ALL
    assert stage_of(replace(pool(), have=np.array([20.0, 20.0, 1.0]))) == MISSING
    scored = replace(pool(), proba=None, classes=None, score=np.ones(60), kind="detection")
    assert stage_of(scored) == ALL
    assert stage_of(replace(scored, have=np.array([9.0]))) == ALL


def test_it_says_who_led_with_what_share() -> None:
    found = Adaptive().rank(pool(), 5, RNG(0))
    assert found.strategy == "adaptive/uherding"
    assert "all classes are known: uherding" in found.why
    assert found.chosen == 5
    assert found.reason(0).startswith("adaptive/uherding: ")
    assert Adaptive().rank(pool(labelled=0), 5, RNG(0)).strategy == "adaptive/maxherding"
    pixels = replace(pool(labelled=0), kind="segmentation")
    assert Adaptive().rank(pixels, 5, RNG(0)).strategy == "adaptive/object-herding"


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 50), st.integers(0, 9))
def test_every_task_once_and_the_same_again(count: int, labelled: int, wanted: int, seed: int) -> None:
    given_pool = pool(count, labelled, seed=seed)
    found = Adaptive().rank(given_pool, wanted, RNG(seed))
    assert sorted(found.rows.tolist()) == list(range(count))
    assert found.chosen == min(wanted, count)
    assert Adaptive().rank(given_pool, wanted, RNG(seed)).rows.tolist() == found.rows.tolist()


def test_who_can_not_gives_its_turn_to_the_next_and_that_is_said() -> None:
    blind = replace(pool(), embedding=np.full((60, 6), np.nan, np.float32))
    with pytest.raises(InvalidInput, match="could not"):
        Adaptive().rank(blind, 5, RNG(0))
    with pytest.raises(EmptyPool):
        Adaptive().rank(pool(0), 5, RNG(0))


def test_turns_are_taken_by_share() -> None:
    led: list[str] = []
    for _ in range(40):
        led.append(turns({"a": 0.7, "b": 0.3}, led)[0])
    assert led[0] == "a"
    assert Counter(led)["b"] == pytest.approx(12, abs=1)


def history(surplus: dict[str, float], count: int, noise: float = 0.0, seed: int = 0) -> list[Round]:
    """Quality .1 · ln(labels), and each strategy's own surplus a round."""
    rng, names, extra = RNG(seed), sorted(surplus), 0.0
    rounds = []
    for turn in range(count):
        name = names[turn % len(names)]
        extra += surplus[name] + rng.normal(0, noise)
        rounds.append(Round(name, 20 * (turn + 1), 0.2 + 0.1 * np.log(turn + 1) + extra))
    return rounds


def test_gains_are_beyond_what_the_labels_explain() -> None:
    """The first rounds gain much whoever leads them."""
    alike = gains(history({"a": 0.0, "b": 0.0}, 20))
    assert np.concatenate(list(alike.values())) == pytest.approx(0, abs=1e-9)
    apart = gains(history({"a": 0.01, "b": -0.01}, 20))
    assert apart["a"].mean() > apart["b"].mean() + 0.015


def test_a_gain_beyond_doubt_moves_the_shares_and_is_told() -> None:
    members = {"a": 0.5, "b": 0.5}
    shares, told = shifted(members, gains(history({"a": 0.01, "b": -0.01}, 20, noise=0.003)))
    assert shares["a"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert "a gains" in told
    worse = history({"uherding": -0.01, "uncertain-k-means": 0.01}, 12, noise=0.002)
    found = Adaptive().rank(replace(pool(), rounds=tuple(worse)), 5, RNG(0))
    assert found.strategy == "adaptive/uncertain-k-means"
    assert "measured: uncertain-k-means gains" in found.why


def test_noise_and_few_rounds_teach_nothing() -> None:
    members = {"a": 0.8, "b": 0.2}
    moved = sum(shifted(members, gains(history({"a": 0.0, "b": 0.0}, 20, 0.02, seed)))[1] != "" for seed in range(200))
    assert moved < 25, "two standard errors: about 1 in 15"
    assert shifted(members, gains(history({"a": 0.1, "b": -0.1}, 5)))[1] == ""
    assert shifted(members, {})[0] == members
    assert gains([Round("a", 10, np.nan), Round("a", 20, 0.5), Round("b", 20, 0.6)]) == {}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.one_of(st.floats(0, 1), st.just(np.nan)))))
def test_shares_are_shares_whatever_was_measured(rows: list[tuple[str, int, float]]) -> None:
    rounds = [Round(name, labels, quality) for name, labels, quality in rows]
    shares, _ = shifted({"a": 0.6, "b": 0.3, "c": 0.1}, gains(rounds))
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0.6 * 0 + 0.1 * np.exp(-4) / 3


def test_the_shares_of_every_stage_are_of_strategies_that_there_are() -> None:
    from groundlook.strategies.catalog import strategy_of

    for shares in (*WHOLE.values(), *PARTS.values()):
        assert sum(shares.values()) == pytest.approx(1)
        assert all(strategy_of(name).name == name for name in shares)
