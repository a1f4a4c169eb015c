"""What every strategy of the catalog must do, on good pools and on bad ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundlook.core.errors import EmptyPool, InvalidConfig, InvalidInput
from groundlook.core.pool import Pool, Ranking
from groundlook.strategies.catalog import DEFAULTS, STRATEGIES, strategies, strategy_of
from groundlook.strategies.vectors import COLD
from tests.conformance.pools import KINDS, pool, shuffled, with_nan

NAMES = sorted(STRATEGIES)
PLAIN = ["least-confidence", "margin", "entropy"]
WEIGHED = ["uherding", "uncertain-k-means", "uncertain-k-center", "blend"]
BY_PROBA = [*PLAIN, *WEIGHED, "badge"]
BY_EMBEDDING = [*WEIGHED, "badge", "k-center", "typiclust", "probcover", "dropquery", "maxherding"]
every = pytest.mark.parametrize("name", NAMES)


def rank(name: str, given_pool: Pool, count: int = 5, seed: int = 0) -> Ranking:
    ranked = strategy_of(name).rank(given_pool, count, np.random.default_rng(seed))
    assert sorted(ranked.rows.tolist()) == list(range(len(given_pool))), "every task once"
    assert ranked.chosen <= min(count, len(given_pool))
    assert all(len(values) == ranked.chosen for values in ranked.terms.values())
    assert all(name in ranked.reason(place) for place in range(len(given_pool)))
    return ranked


@every
@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 60), count=st.integers(0, 70), seed=st.integers(0, 99), labelled=st.sampled_from([0, 1, 9]))
def test_every_task_once_the_batch_first_and_the_same_again(
    name: str, size: int, count: int, seed: int, labelled: int
) -> None:
    given_pool = pool(size, seed, labelled)
    ranked = rank(name, given_pool, count, seed)
    assert ranked.chosen == min(count, size)
    again = rank(name, given_pool, count, seed)
    assert again.rows.tolist() == ranked.rows.tolist()
    assert again.reason(0) == ranked.reason(0)


@every
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), labelled=st.sampled_from([0, 7]))
def test_the_order_of_rows_changes_nothing(name: str, seed: int, labelled: int) -> None:
    given_pool = pool(40, seed, labelled)
    other = shuffled(given_pool, np.random.default_rng(seed).permutation(40))
    one, two = rank(name, given_pool), rank(name, other)
    assert given_pool.ids[one.rows].tolist() == other.ids[two.rows].tolist()


@every
def test_it_has_the_name_it_is_known_by(name: str) -> None:
    assert strategy_of(name).name == name


@every
def test_an_empty_pool_is_an_error(name: str) -> None:
    with pytest.raises(EmptyPool):
        strategy_of(name).rank(pool(0), 5, np.random.default_rng(0))


@every
def test_with_nothing_labelled_and_no_model_it_spreads_and_says_so(name: str) -> None:
    bare = pool(60, marked=0, proba=None, classes=None, counts=None, have=None, score=np.full(60, np.nan), empty=None)
    ranked = rank(name, bare, 8)
    assert ranked.chosen == 8
    assert COLD in ranked.reason(0)


@every
@pytest.mark.parametrize("what", ["constant", "copies", "half", "mapped", "unseen classes", "one class"])
def test_odd_pools_are_ranked(name: str, what: str, tmp_path: Path) -> None:
    plain = pool(30)
    flat = np.full((38, 12), 0.3, np.float32)
    changed: dict[str, dict[str, Any]] = {
        "constant": {"embedding": flat[:30], "labelled": flat[30:]},
        "copies": {"embedding": np.repeat(plain.embedding[:3], 10, axis=0)},
        "half": {"embedding": plain.embedding.astype(np.float16)},
        "mapped": {"embedding": _mapped(tmp_path / "vectors", plain)},
        "unseen classes": {"classes": np.array([-1] * 7 + [0])},
        "one class": {"proba": np.ones((30, 1), np.float32), "classes": np.zeros(8, np.int64)},
    }
    if what == "one class":
        changed[what] |= {"counts": np.ones((30, 1), np.float32), "have": np.array([8.0])}
    ranked = rank(name, pool(30, **changed[what]), 6)
    assert ranked.chosen == 6


def _mapped(path: Path, plain: Pool) -> np.ndarray[Any, Any]:
    plain.embedding.astype(np.float16).tofile(path)
    return np.memmap(path, np.float16, "r", shape=plain.embedding.shape)


@pytest.mark.parametrize("name", BY_PROBA)
@pytest.mark.parametrize("row", [[0.5, 0.4, 0.0, 0.0], [1.5, -0.5, 0.0, 0.0], [np.inf, 0.0, 0.0, 0.0], [2.0] * KINDS])
def test_probabilities_that_are_none_name_the_task(name: str, row: list[float]) -> None:
    proba = pool(20).proba
    assert proba is not None
    wrong = proba.copy()
    wrong[7] = row
    given_pool = pool(20, proba=wrong)
    with pytest.raises(InvalidInput, match=f"task {given_pool.ids[7]} "):
        strategy_of(name).rank(given_pool, 3, np.random.default_rng(0))


@pytest.mark.parametrize("name", BY_PROBA)
def test_a_task_of_unknown_probabilities_comes_after_the_known(name: str) -> None:
    proba = pool(20).proba
    assert proba is not None
    unknown = [3, 4, 11]
    ranked = rank(name, pool(20, proba=with_nan(proba, unknown), score=np.full(20, np.nan)), 18)
    assert ranked.chosen == 17, "never picked"
    assert sorted(ranked.rows[-3:].tolist()) == unknown


@pytest.mark.parametrize("name", BY_EMBEDDING)
@pytest.mark.parametrize("labelled", [0, 8])
def test_a_task_without_embedding_comes_last(name: str, labelled: int) -> None:
    plain = pool(20, marked=labelled)
    missing = [2, 9, 15, 16]
    given_pool = pool(20, marked=labelled, embedding=with_nan(plain.embedding, missing))
    ranked = rank(name, given_pool, 20)
    assert ranked.chosen == 16, "never picked"
    ids = given_pool.ids[ranked.rows[-4:]].tolist()
    assert ids == sorted(given_pool.ids[missing].tolist())


@pytest.mark.parametrize("name", BY_EMBEDDING)
def test_no_embedding_at_all_is_an_error(name: str) -> None:
    with pytest.raises(InvalidInput, match="none of the 9 open tasks has an embedding"):
        rank(name, pool(9, embedding=np.full((9, 12), np.nan, np.float32)))


@pytest.mark.parametrize("name", [*WEIGHED, "k-center", "typiclust", "probcover", "maxherding", "badge"])
def test_a_labelled_task_without_embedding_is_left_out(name: str) -> None:
    plain = pool(30, marked=60)
    part = pool(30, marked=60, labelled=with_nan(plain.labelled, [0, 5]))
    fewer = pool(30, marked=60, labelled=np.delete(plain.labelled, [0, 5], axis=0))
    assert rank(name, part).rows.tolist() == rank(name, fewer).rows.tolist()


@pytest.mark.parametrize("name", [n for n in BY_EMBEDDING if n not in ("badge", "uncertain-k-means", "dropquery")])
def test_embeddings_of_two_kinds_are_an_error(name: str) -> None:
    with pytest.raises(InvalidInput, match="of 5 numbers, open ones of 12"):
        rank(name, pool(9, labelled=np.zeros((4, 5), np.float32)))


@pytest.mark.parametrize("name", [*PLAIN, "badge"])
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(InvalidInput, match="probabilities"):
        rank(name, pool(9, proba=None))


@pytest.mark.parametrize("name", PLAIN)
def test_a_term_stands_in_for_probabilities(name: str) -> None:
    values = np.random.default_rng(3).random(12)
    ranked = rank(name, pool(12, proba=None, terms={name: values}))
    assert ranked.rows.tolist() == np.argsort(-values).tolist()


@pytest.mark.parametrize("name", WEIGHED)
def test_without_probabilities_the_score_weighs_and_without_score_all_are_alike(name: str) -> None:
    assert "score" in rank(name, pool(30, proba=None)).reason(0)
    assert "no uncertainty is known" in rank(name, pool(30, proba=None, score=np.full(30, np.nan))).reason(0)


@pytest.mark.parametrize("name", WEIGHED)
def test_probabilities_of_tasks_without_embedding_say_nothing_of_the_others(name: str) -> None:
    plain = pool(12)
    assert plain.proba is not None
    proba, vectors = with_nan(plain.proba, list(range(6, 12))), with_nan(plain.embedding, list(range(6)))
    ranked = rank(name, pool(12, proba=proba, embedding=vectors, score=np.full(12, np.nan)), 4)
    assert ranked.chosen == 4
    assert set(ranked.rows[:6].tolist()) == set(range(6, 12))
    assert "no uncertainty is known" in ranked.reason(0)


def test_dropquery_names_what_it_lacks() -> None:
    for classes in (None, np.full(8, -1)):
        with pytest.raises(InvalidInput, match="class of"):
            rank("dropquery", pool(9, classes=classes))


def test_every_kind_has_a_default_that_exists() -> None:
    assert set(DEFAULTS) == {"classification", "classification-multiple", "detection", "segmentation"}
    assert set(DEFAULTS.values()) <= set(strategies())


def test_an_unknown_strategy_is_told_which_there_are() -> None:
    with pytest.raises(InvalidConfig, match=r"no strategy 'best'; there are: .*badge, blend"):
        strategy_of("best")
