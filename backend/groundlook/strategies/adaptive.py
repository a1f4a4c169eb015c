"""The strategy that changes as the model learns.

The base is safe: strategies that weigh being unsure by cover, in shares by how far the model is; of the ways to
choose among strategies such ensembles lose least (facts: performance). Each round is led by one, so that what it
gained can be measured; where the gains differ beyond doubt, the shares follow them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from groundlook.core.errors import InvalidInput
from groundlook.core.pool import Pool, Ranking
from groundlook.strategies.bandit import gains, shifted
from groundlook.strategies.catalog import strategy_of
from groundlook.strategies.uncertainty import doubt
from groundlook.strategies.vectors import in_id_order

_FEW = 3
"""A class with fewer labels than this is one the model can't know."""
_RECENT = 10
"""Rounds by which it is seen whose turn it is."""

NOTHING, MISSING, ALL = "nothing is known", "classes are missing", "all classes are known"
Shares = Mapping[str, float]

WHOLE: Mapping[str, Shares] = {
    NOTHING: {"maxherding": 1.0},
    MISSING: {"uherding": 1.0},
    ALL: {"uherding": 0.85, "uncertain-k-means": 0.15},
}
"""For classes of whole tiles: the share of the rounds that each strategy leads, before any gain was measured."""
PARTS: Mapping[str, Shares] = {
    NOTHING: {"object-herding": 1.0},
    MISSING: {"object-herding": 1.0},
    ALL: {"object-herding": 0.9, "margin": 0.1},
}
"""For things on tiles."""


@dataclass(frozen=True, slots=True)
class Adaptive:
    """Each round is led by the member whose turn it is by the shares of the stage; `Ranking.strategy` names it,
    "adaptive/uherding", and `why` the shares and where they come from. A member that the pool has not enough for gives
    its turn to the next."""

    name: str = "adaptive"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        in_id_order(pool)
        stage = stage_of(pool)
        measured = [replace(r, strategy=r.strategy.removeprefix(f"{self.name}/")) for r in pool.rounds]
        usual = WHOLE if pool.kind.startswith("classification") else PARTS
        shares, learned = shifted(usual[stage], gains(measured))
        failed: list[str] = []
        for member in turns(shares, [r.strategy for r in measured]):
            try:
                found = strategy_of(member).rank(pool, count, rng)
            except InvalidInput as error:
                failed.append(f"{member} could not: {error}")
                continue
            told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
            why = "; ".join(part for part in (f"{stage}: {told}", learned, *failed, found.why) if part)
            return replace(found, strategy=f"{self.name}/{member}", why=why)
        raise InvalidInput("; ".join(failed))


def stage_of(pool: Pool) -> str:
    """How far the model is, by what is labelled and what the model says."""
    if not len(pool.labelled) or doubt(pool)[0] is None:
        return NOTHING
    have = pool.have
    if have is None and pool.classes is not None and pool.proba is not None:
        have = np.bincount(pool.classes[pool.classes >= 0], minlength=pool.proba.shape[1]).astype(np.float64)
    if have is None or not len(have):
        return ALL if len(pool.labelled) >= _FEW else MISSING
    return MISSING if float(np.mean(have < _FEW)) > 0.1 else ALL


def turns(shares: Mapping[str, float], led: list[str]) -> list[str]:
    """The members in the order in which it is their turn: the one first that has led the fewest of the recent rounds
    for its share; of equals, the one with the larger share."""
    recent = led[-_RECENT:]
    owed = {name: share * (len(recent) + 1) - recent.count(name) for name, share in shares.items()}
    return sorted(shares, key=lambda name: (-owed[name], -shares[name], name))
