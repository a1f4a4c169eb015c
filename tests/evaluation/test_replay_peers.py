"""Selectors of other packages behind our Protocol: they choose, and what they choose is what they would themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from groundlook.core.errors import EmptyPool, InvalidInput
from groundlook.core.pool import Pool
from groundlook.core.ports import Strategy
from groundlook.evaluation.replay import Setup, replay
from groundlook.evaluation.replay.peers import peers
from tests.evaluation.blobs import Anyhow, Blobs

pytest.importorskip("skactiveml")
pytest.importorskip("modAL")
ALL = peers("classification")


def pool(labelled: int = 12) -> Pool:
    return Blobs().fit(np.arange(labelled), 0).pool


@pytest.mark.parametrize("peer", ALL.values(), ids=lambda p: p.name)
@pytest.mark.parametrize("labelled", [0, 1, 12])
def test_a_peer_picks_a_batch_of_different_tasks_the_same_every_time(peer: Strategy, labelled: int) -> None:
    found = peer.rank(pool(labelled), 7, np.random.default_rng(3))
    assert found.chosen == 7
    assert sorted(found.rows) == list(range(90 - labelled))
    again = peer.rank(pool(labelled), 7, np.random.default_rng(3))
    assert found.rows.tolist() == again.rows.tolist()


@pytest.mark.parametrize("peer", ALL.values(), ids=lambda p: p.name)
def test_a_peer_takes_what_is_left(peer: Strategy) -> None:
    small = Blobs().fit(np.arange(87), 0).pool
    assert peer.rank(small, 10, np.random.default_rng(0)).chosen == 3
    with pytest.raises(EmptyPool):
        peer.rank(Blobs().fit(np.arange(90), 0).pool, 3, np.random.default_rng(0))


@pytest.mark.parametrize("name", ["skactiveml-margin", "modal-margin"])
def test_margins_are_those_of_the_studys_own_head(name: str) -> None:
    some = pool()
    assert some.proba is not None
    lead = np.diff(np.sort(some.proba, axis=1)[:, -2:], axis=1)[:, 0]
    picked = ALL[name].rank(some, 5, np.random.default_rng(0)).rows[:5]
    assert lead[picked].max() <= np.sort(lead)[4] + 1e-6


def test_coreset_takes_the_farthest() -> None:
    some = pool()
    gaps = np.linalg.norm(some.embedding[:, None] - some.labelled[None], axis=2).min(axis=1)
    assert ALL["skactiveml-coreset"].rank(some, 1, np.random.default_rng(0)).rows[0] == gaps.argmax()


def test_tasks_without_class_probabilities_get_the_peers_that_need_none() -> None:
    offered = set(peers("detection"))
    assert offered == {f"skactiveml-{n}" for n in ("coreset", "typiclust", "probcover", "maxherding")}
    plain = replace(pool(), proba=None, classes=None, kind="detection")
    for peer in peers("detection").values():
        assert peer.rank(plain, 4, np.random.default_rng(0)).chosen == 4
    with pytest.raises(InvalidInput, match="needs class probabilities, which detection tasks"):
        ALL["skactiveml-badge"].rank(plain, 4, np.random.default_rng(0))


def test_peers_run_in_processes_beside_ours() -> None:
    some = {n: ALL[n] for n in ("skactiveml-badge", "modal-batch")}
    found = replay(Blobs(), {"random": Anyhow(), **some}, [0], Setup(6, 3), jobs=2)
    assert set(found.strategies) == {"random", *some}
    assert found.left_out == {}
