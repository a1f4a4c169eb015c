"""Whether what a challenger was taught is right: labels that are off hurt little on few held-out tiles, but show."""

from __future__ import annotations

from groundlook.core.exam import Taught
from groundlook.learning.gate.limits import Limits
from groundlook.learning.gate.verdict import Finding, Measured


def labels(new: Taught, old: Taught, limits: Limits) -> Finding:
    """The share of its own labels beside which each version sees the thing. Refused where the challenger's is larger
    and chance has less than `limits.mislaid` of that, by Fisher's exact test, one-sided."""
    from scipy.stats import fisher_exact  # half of every command's start, if it were imported above

    table = [[new.beside, new.met], [old.beside, old.met]]
    chance = float(fisher_exact(table, alternative="greater")[1])
    failed = chance < limits.mislaid
    return Finding(
        what="labels",
        name="",
        measure="share seen elsewhere",
        champion=Measured(old.share),
        challenger=Measured(new.share),
        difference=Measured(new.share - old.share),
        limit=0.0,
        state="failed" if failed else "passed",
        objects=new.met + new.beside,
        blocks=0,
        asks="refused" if failed else "promoted",
    )
